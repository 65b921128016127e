"""Compiled energies are the torch ones, and the fluid is what statistical mechanics says of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posteriori.core.errors import OptionError
from posteriori.core.operator import Operator
from posteriori.core.random import Rng
from posteriori.physics.compiled import Compiled
from posteriori.physics.double_well import DoubleWell
from posteriori.physics.lennard_jones_fluid import LennardJonesFluid
from posteriori.physics.pair_potential import DoubleWellPairs, LennardJones

POTENTIALS = [
    *(DoubleWellPairs(n, d) for n, d in ((4, 2), (5, 3), (3, 1))),
    *(LennardJones(n, d, depth, trap) for n, d, depth, trap in ((13, 3, 2.0, 1.0), (6, 2, 0.7, 0.3), (4, 1, 1.0, 0.0))),
    LennardJonesFluid(20, 0.1),
    LennardJonesFluid(20, 0.1, shifted=False),
]


@pytest.mark.parametrize("potential", POTENTIALS, ids=str)
def test_compiled_energies_and_gradients_equal_torch(potential: Operator) -> None:
    assert isinstance(potential, Compiled)
    x = 1.6 * Rng(0).normal((40, *potential.domain.shape))
    if isinstance(potential, LennardJonesFluid):
        x = potential.lattice() + 0.1 * x
    point = x.clone().requires_grad_()
    energy = potential(point)
    (slope,) = torch.autograd.grad(energy.sum(), point)
    u, g = potential.compiled()(x.reshape(40, -1).numpy())
    assert np.abs(u / energy.detach().numpy() - 1).max() < 1e-12
    wanted = slope.reshape(40, -1).numpy()
    assert (np.abs(g - wanted).max(1) <= 1e-12 * np.abs(wanted).max(1)).all()


def test_only_operators_that_offer_a_compiled_form_are_compiled() -> None:
    assert not isinstance(DoubleWell(), Compiled)


def test_particles_on_top_of_each_other_have_no_finite_energy() -> None:
    u, _ = LennardJones().compiled()(np.zeros((1, 39)))
    assert not np.isfinite(u[0])


def test_the_fluid_does_not_know_in_which_image_a_particle_is() -> None:
    fluid = LennardJonesFluid(20, 0.1)
    x = fluid.lattice() + 0.1 * Rng(1).normal((20, 3))
    moved = x.clone()
    moved[3] += fluid.box * torch.tensor([2.0, -1.0, 0.0], dtype=torch.float64)
    assert float((fluid(moved) - fluid(x)).abs()) < 1e-10


def test_the_virial_is_the_slope_of_the_energy_with_the_volume() -> None:
    """W = -dU / d ln λ when all lengths grow by λ, by central differences; the cut grows along."""
    fluid, h = LennardJonesFluid(20, 0.1, shifted=False), 1e-5
    x = fluid.lattice() + 0.1 * Rng(2).normal((20, 3))
    ends = []
    for scale in (1 + h, 1 - h):
        grown = LennardJonesFluid(20, 0.1 / scale**3, cut=2.5 * scale, shifted=False)
        ends.append(float(grown(x * scale)))
    assert (ends[1] - ends[0]) / (2 * h) == pytest.approx(float(fluid.virial(x)), rel=1e-6)


def test_tails_are_the_integrals_beyond_the_cut() -> None:
    """Where g(r) = 1: 2πρ ∫ u r² dr for the energy, -⅔πρ² ∫ u' r³ dr for the pressure; the shift is given back."""
    fluid, bare = LennardJonesFluid(200, 0.6, 2.7), LennardJonesFluid(200, 0.6, 2.7, shifted=False)
    r = np.geomspace(2.7, 500, 400_001)
    u, slope = 4 * (r**-12 - r**-6), 4 * (-12 * r**-13 + 6 * r**-7)
    assert bare.tail_energy() == pytest.approx(2 * np.pi * 0.6 * np.trapezoid(u * r**2, r), rel=1e-6)
    assert bare.tail_pressure() == pytest.approx(-2 / 3 * np.pi * 0.36 * np.trapezoid(slope * r**3, r), rel=1e-6)
    given_back = 2 / 3 * np.pi * 0.6 * 2.7**3 * 4 * (2.7**-12 - 2.7**-6)
    assert fluid.tail_energy() - bare.tail_energy() == pytest.approx(given_back, rel=1e-12)


@pytest.mark.parametrize(
    "wrong", [{"density": -1.0}, {"density": 0.8, "cut": 4.0}, {"density": 0.8, "cut": 0.0}], ids=str
)
def test_a_fluid_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        LennardJonesFluid(64, **wrong)
