"""Conformal repair: the factor, its finite-sample promise, and that a spread law still agrees with itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import xarray as xr
from torch import Tensor

from posteriori.core.covariance import DiagonalCovariance, ScaledCovariance
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, OptionError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import Method, infer
from posteriori.core.loading import load
from posteriori.core.mixture import Mixture
from posteriori.core.posterior import Posterior
from posteriori.core.random import Rng
from posteriori.core.run import Context, describe
from posteriori.core.space import Space
from posteriori.core.support import Circular, Interval, Positive
from posteriori.core.target import Inverse, Target
from posteriori.inference.conformal import Conformal, conformal_quantile, needed_spread
from posteriori.inference.curvature import GaussNewton
from posteriori.inference.exact import Exact
from posteriori.inference.laplace import Laplace
from posteriori.inference.problems import growth, regression
from posteriori.inference.spreading import spread_by


@dataclass(frozen=True)
class TooSure:
    """Exact, with spreads multiplied by ``share``."""

    share: float

    def __call__(self, target: Target, context: Context) -> Posterior:
        inner = Exact()(target, context)
        scale = torch.full((1,), self.share, dtype=torch.float64)
        return Gaussian(inner.space, inner.location, ScaledCovariance(inner.covariance, scale), problems=inner.problems)


def coverage(method: Method, target: Inverse, level: float, problems: int = 2000) -> float:
    truth, many = target.simulate(problems, Rng(99))
    low, high = infer(many, method).quantile(torch.tensor([0.5 - level / 2, 0.5 + level / 2], dtype=torch.float64))
    return float(((low <= truth) & (truth <= high)).double().mean())


@pytest.mark.parametrize(("share", "level"), [(1.0, 0.9), (0.5, 0.9), (0.2, 0.68), (3.0, 0.95)])
def test_undoes_a_known_mistake(share: float, level: float) -> None:
    """The factor is 1 / share within 4 errors of an estimated quantile, and the level holds afterwards."""
    target = regression()
    method = Conformal(TooSure(share), level).fit(target.simulate, problems=1000)
    assert method.factor is not None
    assert abs(method.factor * share - 1) < 0.12
    assert abs(coverage(method, target, level) - level) < 0.03


@pytest.mark.parametrize("level", [0.68, 0.9])
def test_repairs_an_approximation(level: float) -> None:
    """Laplace on a nonlinear question: its bias before, within 3 % of the level after."""
    target = growth()
    inner = Laplace(GaussNewton())
    before = coverage(inner, target, level)
    method = Conformal(inner, level).fit(target.simulate, problems=1500)
    after = coverage(method, target, level)
    print(f"{level}: {before:.3f} before, {after:.3f} after, factor {method.factor:.3f}")
    assert before < level
    assert abs(after - level) < 0.03


def test_the_promise_of_few_cases() -> None:
    """Nineteen cases at 90 %: the 18th score, and over repeats coverage 18/20; 4 errors of 4000 repeats."""
    scores = Rng(0).normal((4000, 20)).abs()
    held = [float(row[19]) <= conformal_quantile(list(row[:19, None]), 0.9) for row in scores]
    assert conformal_quantile(list(scores[0, :19, None]), 0.9) == float(scores[0, :19].sort().values[17])
    assert abs(sum(held) / 4000 - 0.9) < 4 * (0.09 / 4000) ** 0.5


def test_too_few_cases_are_refused() -> None:
    scores = list(Rng(0).normal((8, 1)).abs())
    with pytest.raises(DataError, match="at least 9"):
        conformal_quantile(scores, 0.9)
    assert conformal_quantile([*scores, torch.tensor([7.0])], 0.9) == 7.0
    with pytest.raises(DataError, match="needs cases"):
        conformal_quantile([], 0.9)


def test_cells_of_one_case_share_its_weight() -> None:
    """Ninety-nine cases of one cell, and one of a thousand cells with huge scores: it counts once."""
    cases = [torch.full((1,), float(i)) for i in range(99)] + [torch.full((1000,), 1e6)]
    assert conformal_quantile(cases, 0.9) < 99


def test_weights_follow_a_shift_of_the_problems() -> None:
    """Scores grow with x; calibrated on x ~ U(0, 1), asked for x with density 2x: unweighted fails, weighted holds."""
    x = Rng(1).uniform((4000,))
    scores = x * Rng(2).normal((4000,)).abs()
    new = Rng(3).uniform((40000,)).sqrt()
    tested = new * Rng(4).normal((40000,)).abs()
    plain = conformal_quantile(list(scores[:, None]), 0.9)
    weighted = conformal_quantile(list(scores[:, None]), 0.9, weights=2 * x)
    assert float((tested <= plain).double().mean()) < 0.87
    assert abs(float((tested <= weighted).double().mean()) - 0.9) < 0.02
    with pytest.raises(DataError, match="weights"):
        conformal_quantile(list(scores[:, None]), 0.9, weights=-x)


def laws() -> list[Posterior]:
    space = Space("m", {"x": 3})
    gaussian = infer(regression(3), Exact())
    rows = Draws(space, Rng(0).normal((4000, 3)) @ torch.randn(3, 3, generator=Rng(1).generator).double() + 5.0)
    weighted = Draws(space, rows.values, Rng(2).normal((4000,)))
    mixture = Mixture([gaussian, Gaussian(space, gaussian.center() + 2.0, DiagonalCovariance(torch.ones(3).double()))])
    return [gaussian, rows, weighted, mixture]


@pytest.mark.parametrize("law", laws(), ids=["gaussian", "draws", "weighted", "mixture"])
def test_samples_intervals_and_covariance_spread_alike(law: Posterior) -> None:
    spread = spread_by(law, 2.5)
    cells = torch.arange(3)
    tails = torch.tensor([0.05, 0.95], dtype=torch.float64)
    assert torch.allclose(spread.center(), law.center(), atol=1e-12)
    assert torch.allclose(spread.spread(), 2.5 * law.spread())
    assert torch.allclose(spread.covariance_between(cells), 6.25 * law.covariance_between(cells))
    assert torch.allclose(spread.quantile(tails), law.center() + 2.5 * (law.quantile(tails) - law.center()))
    again = law.center() + 2.5 * (law.sample(50, Rng(7)) - law.center())
    assert torch.allclose(spread.sample(50, Rng(7)), again)


def test_draws_stay_within_their_support() -> None:
    for support, low, high in ((Positive(), 0.0, torch.inf), (Interval(-1.0, 2.0), -1.0, 2.0)):
        space = Space("m", {"x": 1}, support=support)
        values = 0.01 + 1.9 * Rng(0).uniform((1000, 1))
        spread = spread_by(Draws(space, values), 20.0)
        rows = spread.sample(1000, Rng(1))
        assert float(rows.min()) >= low
        assert float(rows.max()) <= high


def test_borders_do_not_break_the_promise() -> None:
    """Log-normal truths, rows that are half as wide as they should be: 90 % hold afterwards."""
    space = Space("m", {"x": 1}, support=Positive())
    truth = Rng(0).normal((3000, 1)).exp()
    rows = Draws(space, (0.5 * Rng(1).normal((4000, 1))).exp())
    needed = needed_spread(rows, truth[:1000], 0.9)
    factor = conformal_quantile(list(needed), 0.9)
    low, high = spread_by(rows, factor).quantile(torch.tensor([0.05, 0.95], dtype=torch.float64))
    held = ((low <= truth[1000:]) & (truth[1000:] <= high)).double().mean()
    assert abs(float(held) - 0.9) < 0.035


def test_fits_on_labelled_truths_of_some_cells() -> None:
    """Later measurements know a part of the Space; the factor comes from there."""
    question = regression(5, 4)
    truth, many = question.simulate(200, Rng(3))
    pairs = []
    for x, data in zip(truth, many.data, strict=True):
        known = xr.DataArray(x[[4, 1]].numpy(), {"x": [4, 1]}, ("x",))
        pairs.append((question.given(data), known))
    method = Conformal(TooSure(0.5)).fit(pairs)
    whole = Conformal(TooSure(0.5)).fit([(t, x) for (t, _), x in zip(pairs, truth, strict=True)])
    assert method.factor is not None
    assert whole.factor is not None
    assert abs(method.factor / 2 - 1) < 0.25
    assert abs(whole.factor / 2 - 1) < 0.25


def test_remembers_how_it_was_trained(tmp_path: Path) -> None:
    target = regression()
    first, second = (Conformal(Exact()).fit(target.simulate, seed=3, problems=50) for _ in range(2))
    assert first.run is not None
    assert first.run.seed == 3
    assert describe(first) == describe(second)
    found = infer(target, first)
    assert found.run is not None
    assert any("Vovk" in reference for reference in found.run.references)
    again = load(found.save(tmp_path / "run.nc"))
    assert torch.allclose(again.spread(), found.spread())
    assert found.log_evidence is not None


def test_refuses_what_it_cannot_repair() -> None:
    target = regression()
    with pytest.raises(UnanswerableError, match="call fit"):
        infer(target, Conformal(Exact()))
    with pytest.raises(OptionError, match="level"):
        Conformal(Exact(), 1.0)
    with pytest.raises(DataError, match="at least 9"):
        Conformal(Exact()).fit(target.simulate, problems=5)
    angles = Draws(Space("m", {"x": 1}, support=Circular(1.0)), Rng(0).uniform((10, 1)))
    with pytest.raises(UnanswerableError, match="Circular"):
        spread_by(angles, 2.0)
    bounded = Space("m", {"x": 1}, support=Positive())
    mixture = Mixture([Draws(bounded, Rng(k).uniform((10, 1)) + 0.1) for k in range(2)])
    with pytest.raises(UnanswerableError, match="Draws first"):
        spread_by(mixture, 2.0)
    with pytest.raises(DataError, match="cannot be spread by 0"):
        spread_by(infer(target, Exact()), 0.0)


def test_scores_are_what_the_spreading_needs() -> None:
    """Spread by its own score, the interval's edge meets each truth."""
    law = infer(regression(3), Exact())
    truth: Tensor = law.center() + torch.tensor([0.3, -2.0, 0.01], dtype=torch.float64)
    needed = needed_spread(law, truth, 0.9)
    for i, factor in enumerate(needed.tolist()):
        low, high = spread_by(law, factor).quantile(torch.tensor([0.05, 0.95], dtype=torch.float64))
        assert min(abs(float(low[i] - truth[i])), abs(float(high[i] - truth[i]))) < 1e-9
