"""Compiled HMC and replica exchange against integrals in one and two dimensions."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch
from torch import Tensor

from posteriori import Draws, Rng, infer
from posteriori.core.errors import OptionError, ShapeError, UnanswerableError
from posteriori.core.space import Space
from posteriori.core.target import Boltzmann
from posteriori.core.weights import chain_ess
from posteriori.inference.compiled_hmc import CompiledHMC
from posteriori.inference.replica_exchange import ReplicaExchange
from posteriori.physics.centred import Centred
from posteriori.physics.double_well import DoubleWell
from posteriori.physics.many_well import ManyWell
from posteriori.physics.pair_potential import DoubleWellPairs, LennardJones, PairPotential

CRITICAL = 4.4
"""Standard errors that a sound mean exceeds once in 100,000 tests."""


def centred(potential: PairPotential, beta: float = 1.0) -> Boltzmann:
    return Boltzmann(potential @ Centred(potential.domain), beta)


def mean(draws: Draws, figure: Tensor) -> tuple[float, float]:
    by_chain = figure.reshape(draws.chains, -1).T
    return float(figure.mean()), float(figure.std()) / sqrt(float(chain_ess(by_chain)))


def pair_moments(potential: PairPotential, beta: float) -> tuple[float, float]:
    """Mean distance and mean energy of two particles, by quadrature over their distance."""
    d = np.linspace(1e-3, 12, 200_001)
    axes = potential.domain.shape[1]
    x = torch.zeros(len(d), 2, axes, dtype=torch.float64)
    x[:, 0, 0] = torch.from_numpy(d)
    u = potential(x).numpy()
    weight = d ** (axes - 1) * np.exp(-beta * (u - u.min()))
    return float((weight * d).sum() / weight.sum()), float((weight * u).sum() / weight.sum())


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize("potential", [DoubleWellPairs(2, 2), DoubleWellPairs(2, 3), LennardJones(2, 3)], ids=str)
@pytest.mark.parametrize(
    "method",
    [CompiledHMC(draws=1500, chains=8), ReplicaExchange(800, 150, hottest=3.0)],
    ids=lambda m: type(m).__name__,
)
def test_two_particles_keep_the_distance_that_quadrature_gives(
    potential: PairPotential, beta: float, method: CompiledHMC | ReplicaExchange
) -> None:
    """False alarm 2e-5 a case."""
    draws = infer(centred(potential, beta), method, seed=0)
    assert isinstance(draws, Draws)
    distance, energy = pair_moments(potential, beta)
    found, error = mean(draws, draws.values.square().sum((1, 2)).mul(2).sqrt())
    assert abs(found - distance) < CRITICAL * error
    found, error = mean(draws, draws.stats["energy"] / beta)
    assert abs(found - energy) < CRITICAL * error


def test_thirteen_particles_obey_the_virial_and_begin_relaxed() -> None:
    """<β x·∇U> = 36, false alarm 1e-5; from random places a chain would be stuck at thousands of kT."""
    potential = LennardJones()
    draws = infer(centred(potential), CompiledHMC(draws=150, warmup=150, chains=16, steps=(24,)), seed=0)
    assert isinstance(draws, Draws)
    x = draws.values.clone().requires_grad_()
    energy = centred(potential).energy(x)
    (slope,) = torch.autograd.grad(energy.sum(), x)
    assert torch.allclose(energy.detach(), draws.stats["energy"], rtol=1e-9)
    found, error = mean(draws, (x * slope).sum((1, 2)).detach())
    assert abs(found - 36) < CRITICAL * error
    assert float(draws.stats["energy"].max()) < 0


def test_relabelling_mixes_labels_and_changes_nothing_else() -> None:
    """Labelled distances of DW4 forget within a row or so; the mean energy stays, false alarm 1e-5."""
    target = centred(DoubleWellPairs())
    found = {}
    for relabel in (False, True):
        draws = infer(target, CompiledHMC(draws=600, chains=16, steps=(12,), relabel=relabel), seed=1)
        assert isinstance(draws, Draws)
        x = Centred(DoubleWellPairs().domain)(draws.values)
        distance = (x[:, 0] - x[:, 1]).norm(dim=-1).reshape(16, -1).T
        found[relabel] = (float(chain_ess(distance)), *mean(draws, draws.stats["energy"]))
    assert found[True][0] > 3 * found[False][0]
    assert abs(found[True][1] - found[False][1]) < CRITICAL * sqrt(found[True][2] ** 2 + found[False][2] ** 2)


def test_trajectories_that_pay_are_chosen() -> None:
    draws = infer(centred(LennardJones(7)), CompiledHMC(draws=20, warmup=300, chains=16, steps=(1, 16)), seed=0)
    assert isinstance(draws, Draws)
    assert float(draws.stats["steps"][0]) == 16


def test_energies_without_a_compiled_form_are_refused() -> None:
    for target in (Boltzmann(DoubleWell(), 1.0), Boltzmann(ManyWell(4), 1.0)):
        with pytest.raises(UnanswerableError, match="compiled"):
            infer(target, CompiledHMC())
    with pytest.raises(UnanswerableError, match="temperature"):
        infer(centred(DoubleWellPairs(), -1.0), CompiledHMC())


class Elsewhere:
    """Starts of another shape."""

    def __init__(self) -> None:
        self.space = Space("position", {"particle": 3, "axis": 2})

    def sample(self, n: int, rng: Rng) -> Tensor:
        return rng.normal((n, 3, 2))


def test_starts_of_another_shape_are_refused() -> None:
    with pytest.raises(ShapeError):
        infer(centred(DoubleWellPairs(5)), CompiledHMC(start=Elsewhere()))


@pytest.mark.parametrize(
    "wrong", [{"draws": 0}, {"steps": ()}, {"steps": (0,)}, {"warmup": 3}, {"accept": 1.0}], ids=str
)
def test_options_of_compiled_hmc_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        CompiledHMC(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"hottest": 1.0}, {"swap": 0.0}, {"most": 1}, {"moves": 0}], ids=str)
def test_options_of_replica_exchange_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        ReplicaExchange(**wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_replica_exchange_crosses_a_barrier_of_36_kT() -> None:
    """A tilted double well with its population by quadrature, false alarm 1e-5; swaps accept what was asked for."""
    potential = DoubleWell(12.0, 0.05)
    draws = infer(Boltzmann(potential, 1.0), ReplicaExchange(800, 200, chains=8, hottest=20.0), seed=0)
    assert isinstance(draws, Draws)
    x = np.linspace(-8, 8, 100_001)
    weight = np.exp(-(x**4 / 4 - 6 * x**2 + 0.05 * x + 36))
    truth = float(weight[x < 0].sum() / weight.sum())
    found, error = mean(draws, (draws.values[:, 0] < 0).double())
    assert error < 0.05
    assert abs(found - truth) < CRITICAL * error
    assert 0.4 < float(draws.stats["swap"].mean()) < 0.8
    assert float(draws.stats["round_trips"].mean()) > 20
