"""Lattices against what is known exactly of them."""

from __future__ import annotations

from math import log

import pytest
import torch

from posteriori import Boltzmann, Rng, infer
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, OptionError, UnanswerableError
from posteriori.inference.hmc import HMC
from posteriori.physics.ising import Ising
from posteriori.physics.ising_exact import CRITICAL, decimated, enumerated, ring, states, torus
from posteriori.physics.phi4 import Phi4


@pytest.mark.parametrize("coupling", [0.3, CRITICAL, 0.5])
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3)])
def test_kaufman_is_the_sum_over_all_states(shape: tuple[int, int], coupling: float) -> None:
    spins, p, log_z = enumerated(shape, coupling)
    energy = Ising(shape)(((spins + 1) / 2).unflatten(1, shape))
    exact, sites = torus(*shape, coupling), shape[0] * shape[1]
    mean = float(p @ energy)
    assert log_z / sites == pytest.approx(exact.log_z, abs=1e-13)
    assert mean / sites == pytest.approx(exact.energy, abs=1e-12)
    variance = float(p @ (energy - mean).square())
    assert coupling**2 * variance / sites == pytest.approx(exact.heat_capacity, abs=1e-11)


@pytest.mark.parametrize(
    ("size", "log_z", "energy", "heat_capacity"),
    [
        (8, 0.93971532, -1.49159, 1.1456),
        (16, 0.93219631, -1.45306, 1.4987),
        (32, 0.93032039, -1.43366, 1.8468),
        (64, 0.92985163, -1.42394, 2.1922),
    ],
)
def test_the_critical_torus_is_as_tabulated(size: int, log_z: float, energy: float, heat_capacity: float) -> None:
    """An independent program's values."""
    exact = torus(size, size, CRITICAL)
    assert exact.log_z == pytest.approx(log_z, abs=6e-9)
    assert exact.energy == pytest.approx(energy, abs=6e-6)
    assert exact.heat_capacity == pytest.approx(heat_capacity, abs=6e-5)


def test_the_critical_torus_tends_to_onsager() -> None:
    """log 2 / 2 + 2 G / π per site with Catalan's constant G, and the energy -√2."""
    exact = torus(256, 256, CRITICAL)
    assert exact.log_z == pytest.approx(log(2) / 2 + 2 * 0.915965594177219 / torch.pi, abs=2e-5)
    assert exact.energy == pytest.approx(-(2**0.5), abs=3e-3)


def test_the_ring_is_the_sum_over_all_states() -> None:
    spins, p, log_z = enumerated((7,), 0.6)
    exact = ring(7, 0.6)
    assert log_z / 7 == pytest.approx(exact.log_z, abs=1e-14)
    assert float(p @ Ising((7,))((spins + 1) / 2)) / 7 == pytest.approx(exact.energy, abs=1e-13)


def test_decimation_keeps_what_is_left_of_a_ring() -> None:
    """The law of every second spin of eight is that of four at the new coupling."""
    spins, p, _ = enumerated((8,), 0.7)
    codes = ((spins[:, ::2] + 1) / 2).long() @ torch.tensor([1, 2, 4, 8])
    summed = torch.zeros(16).double().index_add_(0, codes, p)
    assert torch.allclose(summed, enumerated((4,), decimated(0.7))[1], atol=1e-14)


def test_wrong_lattices_are_refused() -> None:
    with pytest.raises(OptionError, match="at least 3 sites"):
        Ising((2, 8))
    with pytest.raises(OptionError, match="falls without end"):
        Phi4((4, 4), mass=-1.0, strength=0.0)
    with pytest.raises(OptionError, match="temperature"):
        torus(8, 8, 0.0)
    with pytest.raises(OptionError, match="at most 20 spins"):
        states(21)
    spins = torch.ones(1, 3, 4)
    spins[0, 1, 2] = 0.5
    with pytest.raises(DataError, match=r"spin \(0, 1, 2\) is 0\.5"):
        Ising((3, 4)).codes(spins)
    with pytest.raises(UnanswerableError, match="no closed form"):
        _ = Phi4((4, 4)).free_log_z


def test_the_free_field_is_its_gaussian() -> None:
    """Covariance and log Z against the dense matrix of the action."""
    field = Phi4((4, 5), mass=0.4, strength=0.0)
    eye = torch.eye(20, dtype=torch.float64).unflatten(1, (4, 5))
    dense = torch.stack([field.vjp(row[None], torch.ones(1).double())[0].flatten() for row in eye])
    assert torch.allclose(torch.linalg.inv(dense)[0].reshape(4, 5), field.free_covariance, atol=1e-13)
    assert field.free_log_z == pytest.approx(10 * log(2 * torch.pi) - 0.5 * float(torch.logdet(dense)), abs=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_fields_drawn_by_hmc_keep_the_dyson_schwinger_identity(strength: float) -> None:
    """⟨φ ∂S/∂φ⟩ = 1, and ⟨φ²⟩ of the free field; false alarm 1e-4 each."""
    field = Phi4((6, 6), mass=0.5, strength=strength)
    drawn = infer(Boltzmann(field, 1.0), HMC(draws=400, warmup=200, chains=20), seed=3)
    assert isinstance(drawn, Draws)
    checks = {"identity": (field.identities(drawn.values), 1.0)}
    if not strength:
        checks["square"] = (drawn.values.square().mean((-2, -1)), float(field.free_covariance[0, 0]))
    for name, (rows, wanted) in checks.items():
        means = rows.reshape(20, -1).mean(1)
        z = (float(means.mean()) - wanted) / (float(means.std()) / 20**0.5)
        assert abs(z) < 4.9, f"{name}: {z:.1f} standard errors, Student's law of 19 degrees"


def test_codes_are_the_spins() -> None:
    model = Ising((3, 4))
    spins = torch.where(Rng(0).uniform((5, 3, 4)) < 0.5, 1.0, -1.0)
    assert torch.equal(2 * model.codes(spins) - 1, spins.double())
