"""Samplers of lattices against enumeration and the exact torus."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from posteriori import Boltzmann, Rng, infer
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.inference.cluster import SwendsenWang, Wolff
from posteriori.inference.hmc import HMC
from posteriori.inference.lattice_generator import LatticeGenerator
from posteriori.inference.lattice_heat_bath import HeatBath
from posteriori.inference.lattice_integration import ThermodynamicIntegration
from posteriori.learn.autoregressive_spins import AutoregressiveSpins
from posteriori.physics.double_well import DoubleWell
from posteriori.physics.ising import Ising
from posteriori.physics.ising_exact import CRITICAL, torus
from posteriori.testing import check_prior

SAMPLERS = [SwendsenWang(500, 100, 16), Wolff(500, 100, 16), HeatBath(500, 500, 16, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("coupling", [0.35, CRITICAL])
@pytest.mark.parametrize("method", SAMPLERS, ids=lambda m: type(m).__name__)
def test_energies_are_those_of_the_exact_torus(method: Any, coupling: float) -> None:
    """8 × 8 sites, 16 chains; false alarm 2e-4 by Student's law."""
    drawn = infer(Boltzmann(Ising((8, 8)), coupling), method, seed=1)
    assert isinstance(drawn, Draws)
    means = drawn.stats["energy"].reshape(16, -1).mean(1) / 64
    z = (float(means.mean()) - torus(8, 8, coupling).energy) / (float(means.std()) / 4)
    assert abs(z) < 4.9
    assert torch.allclose(Ising((8, 8))(drawn.values[:5]).double(), drawn.stats["energy"][:5])


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "coupling"), [((8, 8), CRITICAL), ((6, 10), 0.6)])
def test_log_z_is_that_of_the_exact_torus(shape: tuple[int, int], coupling: float) -> None:
    """False alarm 2e-4, and an error that is worth having."""
    drawn = infer(Boltzmann(Ising(shape), coupling), ThermodynamicIntegration(steps=20_000, draws=10), seed=2)
    assert drawn.log_evidence is not None
    assert drawn.log_evidence_error is not None
    sites = shape[0] * shape[1]
    away = float(drawn.log_evidence) / sites - torus(*shape, coupling).log_z
    error = float(drawn.log_evidence_error) / sites
    assert error < 3e-4
    assert abs(away) < 4.9 * error


@pytest.mark.slow
def test_the_generator_knows_log_z_both_ways() -> None:
    """A quick training on 6 × 6 sites: log Z within four standard errors, most rows effective."""
    method = LatticeGenerator(2000, 5000, 4)
    drawn = infer(Boltzmann(Ising((6, 6)), CRITICAL), method, seed=3)
    assert isinstance(drawn, Draws)
    assert drawn.log_evidence is not None
    assert drawn.log_evidence_error is not None
    away = float(drawn.log_evidence) - 36 * torus(6, 6, CRITICAL).log_z
    assert abs(away) < 4 * float(drawn.log_evidence_error)
    assert float(drawn.ess()) > 0.9 * 2000
    assert float(drawn.pareto_k()) < 0.7


def test_autoregressive_spins_are_a_prior() -> None:
    check_prior(AutoregressiveSpins.example())


def test_turned_spins_are_as_likely() -> None:
    net = AutoregressiveSpins.example()
    x = net.sample(20, Rng(0))
    assert torch.allclose(net.log_prob(x), net.log_prob(1 - x))


def test_what_is_no_ising_model_is_refused() -> None:
    with pytest.raises(UnanswerableError, match="turns spins"):
        infer(Boltzmann(DoubleWell(), 1.0), Wolff())
    with pytest.raises(UnanswerableError, match="couplings J / kT from 0 to 2"):
        infer(Boltzmann(Ising((4, 4)), -0.3), SwendsenWang())
    with pytest.raises(UnanswerableError, match="classes"):
        infer(Boltzmann(Ising((4, 4)), 0.3), HMC())
    with pytest.raises(OptionError, match="at least 4 chains"):
        ThermodynamicIntegration(chains=2)
    with pytest.raises(OptionError, match="multiple of the 50 chains"):
        LatticeGenerator(rows=70)
