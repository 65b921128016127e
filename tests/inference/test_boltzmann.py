"""The Boltzmann generator, its safety net and its quasi-random rows against integrals that are known."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest
import torch
from torch import Tensor

from posteriori import Boltzmann, Inverse, Rng, Space, infer
from posteriori.core.draws import RAW_WEIGHT, Draws
from posteriori.core.errors import DataError, OptionError, UnanswerableError
from posteriori.core.operator import TorchOperator
from posteriori.core.support import Positive
from posteriori.inference.boltzmann import BoltzmannGenerator
from posteriori.inference.boltzmann_training import Training
from posteriori.inference.defensive import Defensive
from posteriori.inference.hmc import HMC
from posteriori.inference.problems import regression
from posteriori.inference.quasi_random import evidence_over_groups, normal_points, over_groups
from posteriori.learn.flow.spline import SplineFlow
from posteriori.physics.gaussian_mixture import GaussianMixture
from posteriori.testing import check_prior

PLANE = Space("position", {"axis": ["x", "y"]})
SHORT = Training(steps=6, batch=64, transforms=1, hidden=(8,), bins=4)


class Bowl(TorchOperator):
    """U = |x|²/2 over a Space that is given; NaN beyond a radius where one is."""

    def __init__(self, space: Space = PLANE, broken: float | None = None) -> None:
        super().__init__()
        self.domain, self.codomain, self.broken = space, Space("energy"), broken

    def forward(self, m: Tensor) -> Tensor:
        r = m.square().sum(-1) / 2
        return r if self.broken is None else torch.where(m[..., 0] > self.broken, torch.nan, r)


def net(share: float = 0.2) -> Defensive:
    rows = Rng(1).normal((200, 2)) * torch.tensor([1.0, 2.0])
    return Defensive(SplineFlow(PLANE, 1, (8,), 4, rows=rows, rng=Rng(2)).requires_grad_(False), rows, share)


def grid(reach: float, n: int) -> tuple[Tensor, float]:
    axis = torch.linspace(-reach, reach, n, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), float(axis[1] - axis[0]) ** 2


def test_quasi_random_points_are_standard_normal_and_average_better_than_chance() -> None:
    z = normal_points(4096, 2, Rng(0))
    assert float(z.mean(0).abs().max()) < 1e-3  # chance: 0.016
    assert float((z.square().mean(0) - 1).abs().max()) < 5e-3  # chance: 0.022
    assert not torch.equal(z, normal_points(4096, 2, Rng(1)))


def test_the_jackknife_of_a_mean_is_the_error_of_the_groups() -> None:
    f = Rng(2).normal((800,)) + 3
    value, error = over_groups(torch.zeros(800), f, 8)
    groups = f.reshape(8, 100).mean(1)
    torch.testing.assert_close(value, f.mean())
    torch.testing.assert_close(error, groups.std() / 8**0.5)
    with pytest.raises(DataError, match="equal groups"):
        over_groups(torch.zeros(800), f, 7)


def test_the_mixture_is_normalised_and_never_below_its_floor() -> None:
    points, cell = grid(14.0, 561)
    one = net()
    log_q = one.log_prob(points)
    assert float(log_q.exp().sum()) * cell == pytest.approx(1.0, abs=2e-3)
    assert bool((log_q >= one.floor(points)).all())


@pytest.mark.parametrize("quasi", [False, True])
def test_draws_of_the_mixture_have_its_density(quasi: bool) -> None:
    one = net()
    x, log_q = one.draw(4096, Rng(3), quasi=quasi)
    torch.testing.assert_close(log_q, one.log_prob(x), atol=1e-4, rtol=0)
    points, cell = grid(14.0, 281)
    exact = (one.log_prob(points).exp() * cell) @ points.square()
    error = x.double().square().std(0) / 64
    assert bool(((x.double().square().mean(0) - exact).abs() < 5 * error).all())  # false alarm 1e-6


def test_the_mixture_is_a_prior() -> None:
    check_prior(net().double())


def test_a_share_outside_the_unit_interval_is_refused() -> None:
    with pytest.raises(OptionError, match="in \\(0, 1\\)"):
        net(1.0)


def test_log_z_of_a_mixture_is_found_from_a_flow_that_has_hardly_learnt() -> None:
    own, target = BoltzmannGenerator.example()
    found = infer(target, replace(own, draws=16_000, groups=8), seed=5)
    assert found.log_evidence is not None
    assert found.log_evidence_error is not None
    assert abs(float(found.log_evidence)) < 6 * float(found.log_evidence_error)  # t of 7: false alarm 5e-4
    assert float(found.log_evidence_error) < 0.01


def test_weights_are_energies_less_log_densities_and_the_error_is_that_of_groups() -> None:
    own, target = BoltzmannGenerator.example()
    found = infer(target, own, seed=6)
    assert isinstance(found, Draws)
    raw = -target.energy(found.values) - found.stats["log_q"]
    torch.testing.assert_close(found.stats[RAW_WEIGHT], raw)
    evidence, error = evidence_over_groups(raw, own.groups)
    assert float(evidence) == float(found.log_evidence)  # type: ignore[arg-type]
    assert float(error) == float(found.log_evidence_error)  # type: ignore[arg-type]


def test_a_fitted_copy_keeps_its_run_and_repeats_itself() -> None:
    target = Boltzmann(GaussianMixture(torch.tensor([[0.0, 0.0], [1.5, 1.0]]), 1.0, torch.tensor([1.0, 2.0])), 1.0)
    method = BoltzmannGenerator(800, 4, SHORT, HMC(draws=10, warmup=20, chains=8, steps=3), 0.2)
    one, two = method.fit(target, seed=1), method.fit(target, seed=1)
    assert one.run is not None
    assert two.run is not None
    assert one.run.hashes == two.run.hashes
    assert one.run.seed == 1
    assert torch.equal(infer(target, one).sample(10, Rng(0)), infer(target, two).sample(10, Rng(0)))


def test_it_refuses_what_it_cannot_answer() -> None:
    method = BoltzmannGenerator(800, 4, SHORT, HMC(draws=10, warmup=20, chains=8, steps=3), 0.2)
    positive = Space("rate", {"axis": 2}, support=Positive())
    with pytest.raises(UnanswerableError, match="without borders"):
        infer(Boltzmann(Bowl(positive), 1.0), method)
    several = regression()
    assert isinstance(several, Inverse)
    with pytest.raises(UnanswerableError, match="one problem at a time"):
        infer(several.simulate(3, Rng(0))[1], method)
    fitted = method.fit(Boltzmann(Bowl(), 1.0), rows=Rng(0).normal((100, 2)))
    with pytest.raises(UnanswerableError, match="NaN"):
        infer(Boltzmann(Bowl(broken=0.0), 1.0), fitted)
    with pytest.raises(UnanswerableError, match="outside the range"):
        infer(Boltzmann(Bowl(), 2.0), fitted)


@pytest.mark.parametrize("options", [{"draws": 801}, {"groups": 1}, {"defensive": 0.0}, {"range": (2.0, 1.0)}])
def test_options_that_cannot_be_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        replace(BoltzmannGenerator(), **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_one_steered_flow_answers_temperatures_that_it_never_met() -> None:
    """Two wells of a quartic; truth by quadrature; t of 15 degrees beyond 6: false alarm 5e-5 a figure."""

    class Wells(Bowl):
        def forward(self, m: Tensor) -> Tensor:
            return m[..., 0] ** 4 / 4 - m[..., 0] ** 2 + 0.3 * m[..., 0] + m[..., 1] ** 2

    training = Training(steps=250, batch=256, transforms=2, hidden=(32, 32), bins=8)
    method = BoltzmannGenerator(16_384, 16, training, HMC(draws=50, warmup=60, chains=20, steps=6), range=(0.5, 2.0))
    fitted = method.fit(Boltzmann(Wells(), 1.0), seed=7)
    points, cell = grid(7.0, 701)
    for beta in (0.57, 0.93, 1.71):  # none among the nine of training
        target = Boltzmann(Wells(), beta)
        exact = float(torch.logsumexp(-target.energy(points), 0)) + log(cell)
        found = infer(target, fitted)
        assert isinstance(found, Draws)
        assert abs(float(found.log_evidence) - exact) < 6 * float(found.log_evidence_error)  # type: ignore[arg-type]
        assert float(found.ess()) > 0.7 * 16_384
        share, error = over_groups(found.stats[RAW_WEIGHT], (found.values[:, 0] < 0).double(), 16)
        p = torch.softmax(-target.energy(points), 0)
        assert abs(float(share - p[points[:, 0] < 0].sum() - p[points[:, 0] == 0].sum() / 2)) < 6 * float(error) + 1e-4
