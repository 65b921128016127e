"""Simulation-based calibration passes right methods and catches wrong ones, at the stated false-alarm rate."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from posteriori.audit.report import Gate
from posteriori.audit.sbc import rank_truths, sbc
from posteriori.core.covariance import ScaledCovariance
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.exact import Exact
from posteriori.inference.problems import regression


@dataclass(frozen=True)
class Rescaled:
    """The exact answer with its standard deviation times ``factor`` and its mean shifted by ``shift`` deviations."""

    factor: float = 1.0
    shift: float = 0.0

    def __call__(self, target: Target, context: Context) -> Gaussian:
        right = Exact()(target, context)
        scale = torch.full((target.space.size,), self.factor, dtype=torch.float64)
        return Gaussian(
            target.space,
            right.location + self.shift * right.spread(),
            ScaledCovariance(right.covariance, scale),
            problems=right.problems,
        )


@dataclass(frozen=True)
class PriorOnly:
    """Looks at no datum: every element ranks uniformly."""

    def __call__(self, target: Target, context: Context) -> Gaussian:
        assert isinstance(target, Inverse)
        prior = target.prior
        assert isinstance(prior, Gaussian)
        location = prior.location.expand(*target.batch, *target.space.shape).clone()
        return Gaussian(target.space, location, prior.covariance, problems=target.problems)


@dataclass(frozen=True)
class Uncorrelated:
    """The exact margins, without their covariance."""

    def __call__(self, target: Target, context: Context) -> Draws:
        right = Exact()(target, context)
        noise = context.rng.normal((127, *right.location.shape))
        return Draws(target.space, right.location + right.spread() * noise, problems=right.problems)


def test_the_exact_method_passes() -> None:
    result = sbc(Exact(), regression())
    assert result.p_value > 1e-3
    assert result.problems == 256
    assert set(result.p_values) == {"x[0]", "x[1]", "x[2]", "x[3]", "mean", "misfit", "energy"}
    assert result.report().passed
    assert result.report()["sbc_p_value"].gate == Gate(low=1e-3)
    assert result.histogram("energy").counts.sum() == 256


@pytest.mark.parametrize("method", [Rescaled(0.8), Rescaled(1.3), Rescaled(shift=0.5), PriorOnly(), Uncorrelated()])
def test_wrong_methods_are_caught_with_the_defaults(method: Rescaled | PriorOnly | Uncorrelated) -> None:
    result = sbc(method, regression())
    assert result.p_value < 1e-3
    assert not result.report().passed


def test_the_prior_passes_element_by_element_and_fails_on_the_data_dependent_quantities() -> None:
    result = sbc(PriorOnly(), regression())
    assert all(p > 1e-3 for name, p in result.p_values.items() if name.startswith("x["))
    assert result.p_values["misfit"] < 1e-6
    assert result.worst in ("misfit", "energy")


def test_over_confidence_is_named_as_such() -> None:
    report = sbc(Rescaled(0.7), regression()).report()
    figure = report["energy.spread_z"]
    assert figure.standard_error is not None
    assert any(f.value > 1.2 for f in report if f.name.endswith("spread_z"))


@pytest.mark.slow
def test_false_alarms_and_power() -> None:
    """200 runs of 64 problems: the exact method falls below 0.05 at most 5 % of the time (binomial 1e-4 limit: 22)."""
    alarms = sum(sbc(Exact(), regression(), 64, 31, Rng(seed)).p_value <= 0.05 for seed in range(200))
    assert alarms <= 22
    caught = sum(sbc(Rescaled(0.8), regression(), rng=Rng(seed)).p_value < 1e-3 for seed in range(40))
    assert caught >= 38


def test_parts_rank_the_same_truths_and_elements_are_chosen_once() -> None:
    target = regression(cells=9, data=4)
    whole = sbc(Exact(), target, problems=40, draws=15, elements=3)
    parts = sbc(Exact(), target, problems=40, draws=15, elements=3, at_once=16)
    assert whole.p_values.keys() == parts.p_values.keys()
    assert len(whole.p_values) == 3 + 3
    assert parts.problems == 40
    again = sbc(Exact(), target, problems=40, draws=15, elements=3, at_once=16)
    assert all(torch.equal(parts.ranks[name], again.ranks[name]) for name in parts.ranks)


def test_draws_at_hand_can_be_ranked() -> None:
    """Each quantity uniform: p > 1e-3 (false alarm 1e-3)."""
    rng = Rng(1)
    draws, truth = rng.normal((31, 200)), rng.normal((200,))
    assert rank_truths({"a": draws}, {"a": truth}, frozenset(), rng).p_value > 1e-3
    assert rank_truths({"a": 0.6 * draws}, {"a": truth}, frozenset({"a"}), rng).p_value < 1e-3


def test_a_method_that_mixes_problems_is_refused() -> None:
    class Flat:
        def __call__(self, target: Target, context: Context) -> Draws:
            return Draws(target.space, context.rng.normal((50, *target.space.shape)))

    with pytest.raises(ShapeError, match="keeps the leading dims"):
        sbc(Flat(), regression())
    with pytest.raises(OptionError, match="at least 8"):
        sbc(Exact(), regression(), problems=4)
