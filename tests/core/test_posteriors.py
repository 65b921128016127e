"""Summaries of every posterior against closed forms and independent figures."""

from __future__ import annotations

from math import log, pi, sqrt

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from posteriori import Draws, Gaussian, Mixture, Rng, Space
from posteriori.core.algebra import Dense, Scale
from posteriori.core.categorical import Categorical
from posteriori.core.covariance import Covariance, DenseCovariance, DiagonalCovariance
from posteriori.core.errors import DataError, OptionError, ShapeError, UnanswerableError
from posteriori.core.support import Circular, Classes

SPACE = Space("m", {"x": ["a", "b", "c"]}, "keV")


def spd(n: int = 3) -> Tensor:
    root = Rng(1).normal((n, n))
    return root @ root.T + 0.2 * torch.eye(n, dtype=torch.float64)


def gaussian(shift: float = 0.0) -> Gaussian:
    return Gaussian(SPACE, torch.tensor([1.0, -2.0, 0.5]).double() + shift, DenseCovariance(spd()))


def test_a_gaussian_states_its_moments_quantiles_and_density() -> None:
    g = gaussian()
    mean, cov = g.location.numpy(), spd().numpy()
    assert g.mean().sel(x="b") == -2.0
    assert g.std().values == pytest.approx(np.sqrt(np.diag(cov)))
    bounds = g.interval(0.68)
    assert bounds.sel(bound="upper").values == pytest.approx(stats.norm.ppf(0.84, mean, np.sqrt(np.diag(cov))))
    assert g.cov(["c", "a"]).values == pytest.approx(cov[np.ix_([2, 0], [2, 0])])
    assert g.cov(["c", "a"]).attrs["units"] == "(keV)**2"
    x = g.sample(7, Rng(0))
    assert g.log_prob(x).numpy() == pytest.approx(stats.multivariate_normal(mean, cov).logpdf(x.numpy()))


def test_the_density_of_a_structured_gaussian_leaves_its_structure() -> None:
    g = Gaussian(SPACE, torch.zeros(3).double(), DiagonalCovariance(torch.ones(3).double()))
    names = [name for name, _ in g.named_modules()]
    assert float(g.log_prob(torch.zeros(3).double())) == pytest.approx(-1.5 * log(2 * pi))
    assert names == [name for name, _ in g.named_modules()]
    assert isinstance(g.covariance, DiagonalCovariance)


class Learnt(DiagonalCovariance):
    def __init__(self) -> None:
        super().__init__(torch.ones(3).double())
        self.log = torch.nn.Parameter(torch.zeros(3).double())

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        return torch.where(rows[:, None] == columns, self.log.exp()[rows][:, None], 0.0)


def test_the_density_follows_what_its_covariance_learns() -> None:
    """d/dlog v of log N(x; 0, v) is (x²/v - 1) / 2."""
    covariance: Covariance = Learnt()
    g = Gaussian(SPACE, torch.zeros(3).double(), covariance)
    x = torch.tensor([0.0, 1.0, 2.0]).double()
    for _ in range(2):
        (slope,) = torch.autograd.grad(g.log_prob(x), covariance.log)
        assert slope.tolist() == pytest.approx([-0.5, 0.0, 1.5])
    with torch.no_grad():
        covariance.log.fill_(log(4.0))
    assert float(g.log_prob(x).detach()) == pytest.approx(stats.norm(0, 2).logpdf(x.numpy()).sum())


def test_a_linear_map_of_a_gaussian_is_exact_and_keeps_covariances() -> None:
    g = gaussian()
    a = Rng(2).normal((2, 3))
    y = g.map(Dense(SPACE, Space("d", {"t": 2}), a, torch.tensor([1.0, 0.0])))
    assert isinstance(y, Gaussian)
    assert torch.allclose(y.location, a @ g.location + torch.tensor([1.0, 0.0]))
    assert torch.allclose(y.covariance.dense(), a @ spd() @ a.T)


def test_a_nonlinear_map_becomes_draws_never_a_linearisation() -> None:
    """E[exp x] of N(μ, σ²) is exp(μ + σ²/2); five standard errors."""
    y = gaussian().map(lambda x: x.exp(), space=SPACE, draws=40_000)
    assert isinstance(y, Draws)
    mu, var = gaussian().location, spd().diagonal()
    wanted, spread = (mu + var / 2).exp(), ((var.exp() - 1) * (2 * mu + var).exp()).sqrt()
    assert bool(((y.center() - wanted).abs() < 5 * spread / 200).all())
    with pytest.raises(OptionError, match="space="):
        gaussian().map(lambda x: x)
    with pytest.raises(ShapeError, match=r"f\(x\)"):
        gaussian().map(lambda x: x[..., :2], space=SPACE)


def test_a_map_may_draw_for_itself() -> None:
    noisy = Draws(SPACE, torch.zeros(5000, 3).double()).map(lambda x, rng: x + rng.normal(x.shape), space=SPACE)
    assert bool(((noisy.spread() - 1).abs() < 5 / sqrt(2 * 5000)).all())


def test_draws_state_the_moments_of_their_rows() -> None:
    x = Rng(0).normal((50, 3))
    d = Draws(SPACE, x)
    assert d.mean().values == pytest.approx(x.numpy().mean(0))
    assert d.std().values == pytest.approx(x.numpy().std(0, ddof=1))
    assert d.cov(["a", "b", "c"]).values == pytest.approx(np.cov(x.numpy().T))
    assert d.interval(0.9).values == pytest.approx(np.quantile(x.numpy(), [0.05, 0.95], axis=0))


def test_equal_weights_are_no_weights() -> None:
    x = Rng(0).normal((50, 3))
    plain, weighted = Draws(SPACE, x), Draws(SPACE, x, torch.full((50,), 3.0).double())
    for name in ("center", "spread"):
        assert torch.allclose(getattr(plain, name)(), getattr(weighted, name)())
    p = torch.tensor([0.0, 0.01, 0.3, 0.5, 1.0]).double()
    assert torch.allclose(plain.quantile(p), weighted.quantile(p))


def test_whole_weights_are_repeats() -> None:
    x, times = Rng(0).normal((40, 3)), Rng(1).integers(4, (40,))
    times[0] = 1
    weighted, repeated = Draws(SPACE, x, times.double().log()), Draws(SPACE, x.repeat_interleave(times, 0))
    assert torch.allclose(weighted.center(), repeated.center())
    n, share = float(times.sum()), float((times / times.sum()).square().sum())
    assert torch.allclose(weighted.spread() * sqrt(1 - share), repeated.spread() * sqrt(1 - 1 / n))
    low, high = weighted.quantile(torch.tensor([0.25, 0.75]).double())
    assert bool((low < high).all())


def test_a_quantile_is_not_moved_by_rows_without_weight() -> None:
    x = torch.cat([Rng(0).normal((100, 3)), torch.full((2, 3), 1e12).double(), torch.full((1, 3), torch.nan).double()])
    w = torch.cat([torch.zeros(100), torch.tensor([-80.0, -torch.inf, -torch.inf])]).double()
    d, p = Draws(SPACE, x, w), torch.tensor([0.05, 0.5, 0.99]).double()
    assert torch.allclose(d.quantile(p), torch.quantile(x[:100], p, 0), atol=1e-6)
    assert torch.allclose(d.center(), x[:100].mean(0), atol=1e-6)
    assert bool(torch.isfinite(d.covariance_between(torch.arange(3))).all())


def test_weighted_draws_answer_for_their_target() -> None:
    """N(0, 1) draws weighted towards N(1, 1); five standard errors of 40000 draws of known effective size."""
    space, n = Space("m"), 40_000
    x = Rng(3).normal((n,))
    d = Draws(space, x, x - 0.5)
    assert float(d.ess()) == pytest.approx(n / np.e, rel=0.1)
    assert float(d.center()) == pytest.approx(1.0, abs=5 * sqrt(np.e / n) * 2)
    found = d.probability(lambda v: v > 2)
    assert abs(float(found.probability) - stats.norm.sf(1)) < 5 * float(found.standard_error)
    assert float(d.quantile(torch.tensor([0.5]).double())[0]) == pytest.approx(1.0, abs=0.1)
    resampled = d.sample(n, Rng(4))
    assert float(resampled.mean()) == pytest.approx(float(d.center()), abs=0.02)


def test_the_error_of_a_probability_is_that_of_the_rows() -> None:
    """Of 200 draws, however many are asked for; z-scores of 400 repeats have spread 1 within five standard errors."""
    z = []
    for seed in range(400):
        d = Draws(Space("m"), Rng(seed).normal((200,)))
        found = d.probability(lambda v: v > 0.5, draws=100_000)
        z.append((float(found.probability) - stats.norm.sf(0.5)) / float(found.standard_error))
    assert np.std(z) == pytest.approx(1.0, abs=5 / sqrt(800) + 0.02)
    assert float(Draws(Space("m"), torch.zeros(98)).probability(lambda v: v > 1).standard_error) == pytest.approx(0.01)


def test_a_mixture_has_the_spread_of_its_means_and_the_quantiles_of_its_law() -> None:
    one, other, w = gaussian(), gaussian(3.0), 0.3
    m = Mixture([one, other], torch.tensor([w, 1 - w]))
    gap = torch.full((3,), 3.0).double()
    assert torch.allclose(m.center(), one.location + (1 - w) * gap)
    assert torch.allclose(m.covariance_between(torch.arange(3)), spd() + w * (1 - w) * torch.outer(gap, gap), rtol=1e-6)
    assert torch.allclose(m.between(), sqrt(w * (1 - w)) * gap, rtol=1e-6)
    q = m.quantile(torch.tensor([0.1, 0.9]).double())
    std = spd().diagonal().sqrt()
    cdf = w * torch.special.ndtr((q - one.location) / std) + (1 - w) * torch.special.ndtr((q - other.location) / std)
    assert torch.allclose(cdf, torch.tensor([[0.1], [0.9]]).double().expand(2, 3), atol=1e-6)
    x = m.sample(5, Rng(0))
    parts = np.stack(
        [stats.multivariate_normal(p.location.numpy(), spd().numpy()).pdf(x.numpy()) for p in (one, other)]
    )
    assert m.log_prob(x).exp().numpy() == pytest.approx(w * parts[0] + (1 - w) * parts[1], rel=1e-6)
    mapped = m.map(Scale(SPACE, 2.0))
    assert isinstance(mapped, Mixture)
    assert torch.allclose(m.matched().location, m.center())


def test_a_mixture_may_weigh_its_components_by_problem() -> None:
    """Problem by problem it is the mixture of that problem alone; draws within five standard errors."""
    one, other = (Gaussian(SPACE, torch.arange(6.0).double().reshape(2, 3) + s, DenseCovariance(spd())) for s in (0, 3))
    weights = torch.tensor([[0.2, 0.8], [3.0, 1.0]])
    both, levels, cells = Mixture([one, other], weights), torch.tensor([0.1, 0.9]).double(), torch.arange(3)
    x = both.sample(4000, Rng(0))
    for i in range(2):
        parts = [Gaussian(SPACE, part.location[i], part.covariance) for part in (one, other)]
        alone = Mixture(parts, weights[i])
        assert torch.allclose(both.center()[i], alone.center())
        assert torch.allclose(both.spread()[i], alone.spread())
        assert torch.allclose(both.quantile(levels)[:, i], alone.quantile(levels))
        assert torch.allclose(both.covariance_between(cells)[i], alone.covariance_between(cells))
        assert torch.allclose(both.log_prob(x)[:, i], alone.log_prob(x[:, i]))
        assert float(((x[:, i].mean(0) - alone.center()) / alone.spread()).abs().max()) * 4000**0.5 < 5
        assert float((x[:, i].std(0) / alone.spread() - 1).abs().max()) < 0.06
    with pytest.raises(DataError, match="each problem and component"):
        Mixture([one, other], weights[[0, 1, 1]])
    for bad in (torch.inf, torch.nan, -1.0):
        with pytest.raises(DataError, match="numbers ≥ 0"):
            Mixture([one, other], torch.tensor([1.0, bad]))


def test_a_mean_of_angles_goes_round() -> None:
    space = Space("azimuth", support=Circular(360.0))
    rows = torch.tensor([350.0, 10.0, 355.0, 5.0]).double()
    assert float(Draws(space, rows).mean()) % 360 == pytest.approx(0.0, abs=1e-9)
    halves = Mixture([Draws(space, rows[:1]), Draws(space, rows[1:2])])
    assert min(float(halves.mean()), 360 - float(halves.mean())) < 1e-6
    with pytest.raises(UnanswerableError, match="Circular"):
        Draws(space, rows).std()


def test_classes_have_probabilities_and_no_mean() -> None:
    space = Space("rock", {"x": 2}, support=Classes(("granite", "basalt", "schist")))
    table = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]]).double()
    c = Categorical(space, table)
    assert c.classes().sel({"x": 0, "class": "schist"}) == 0.5
    assert float(c.log_prob(torch.tensor([2.0, 0.0]))) == pytest.approx(log(0.5))
    assert c.sample(500, Rng(0))[:, 1].tolist() == [0.0] * 500
    p = c.probability(lambda x: x == 1.0, draws=10_000)
    assert float(p.probability[0]) == pytest.approx(0.3, abs=5 * sqrt(0.21 / 10_000))
    for refused in (c.mean, c.std, c.interval):
        with pytest.raises(UnanswerableError):
            refused()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Draws(SPACE, torch.zeros(0, 3)), DataError, "0 draws"),
        (lambda: Draws(SPACE, torch.zeros(5, 3), chains=2), DataError, "2 equal chains"),
        (lambda: Draws(SPACE, torch.tensor([[0.0, torch.nan, 0.0]])), DataError, r"draw \(0,\) is not finite"),
        (lambda: Draws(SPACE, torch.zeros(2, 3), torch.full((2,), -torch.inf)), DataError, "weight zero"),
        (lambda: Draws(SPACE, torch.zeros(2, 3), torch.tensor([0.0, torch.nan])), DataError, "log-weight is NaN"),
        (lambda: Draws(SPACE, torch.zeros(1, 3)).std(), UnanswerableError, "one row"),
        (lambda: Draws(SPACE, torch.zeros(2, 3), torch.tensor([0.0, -torch.inf])).std(), UnanswerableError, "one row"),
        (lambda: Draws(SPACE, torch.zeros(2, 3)).pareto_k(), UnanswerableError, "importance weights"),
        (lambda: gaussian().interval(1.0), OptionError, "outside"),
        (lambda: gaussian().cov(["z"]), ShapeError, "no label"),
        (lambda: Gaussian(SPACE, torch.zeros(3), DenseCovariance(torch.eye(2))), ShapeError, "does not fit"),
        (lambda: Mixture([]), DataError, "at least one"),
        (lambda: Mixture([gaussian()], torch.tensor([-1.0])), DataError, "≥ 0"),
        (lambda: Mixture([Draws(SPACE, torch.zeros(2, 3))]).log_prob(torch.zeros(3)), UnanswerableError, "no density"),
    ],
)
def test_what_has_no_meaning_is_refused(make: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()  # type: ignore[operator]


def test_elements_of_several_dims_are_named_by_tuples() -> None:
    space = Space("m", {"y": ["a", "b"], "x": [0, 1]})
    g = Gaussian(space, torch.zeros(2, 2).double(), DenseCovariance(spd(4)))
    found = g.cov([("b", 1), ("a", 0)])
    assert found.values == pytest.approx(spd(4).numpy()[np.ix_([3, 0], [3, 0])])


def test_large_draws_have_quantiles() -> None:
    """More cells than torch.quantile takes."""
    rows = torch.arange(17.0).repeat(1_000_000, 1).T.contiguous()
    d = Draws(Space("m", {"x": 1_000_000}), rows)
    assert float(d.quantile(torch.tensor([0.5]).double()).mean()) == 8.0
