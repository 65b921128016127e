"""Clusters and the fluid: the studies against exact identities, rows of others caught where they are wrong."""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posteriori.core.errors import DataError, OptionError
from posteriori.core.run import Context
from posteriori.core.target import Boltzmann
from posteriori.domains.molecules.particles import double_well_cluster, lennard_jones_cluster, run_hmc
from posteriori.domains.molecules.particles_data import given_figures, read_positions
from posteriori.domains.molecules.particles_fluid import Lattice, measured, second_virial, simulate
from posteriori.domains.molecules.studies import dw4, lj13
from posteriori.domains.study import Outcome
from posteriori.inference.compiled_hmc import CompiledHMC
from posteriori.physics.lennard_jones_fluid import LennardJonesFluid

CRITICAL = 4.4
"""Standard errors that a sound mean exceeds once in 100,000 tests."""
SHORT = CompiledHMC(chains=16, warmup=200, steps=(12,))


def written(path: Path, x: np.ndarray) -> Path:
    np.save(path, x)
    return path


def test_rows_are_looked_at_until_there_are_enough() -> None:
    """DW4: virial 6 and the energy of long chains elsewhere, -22.532 ± 0.009; false alarm 1e-5 each."""
    found = run_hmc(double_well_cluster(), 1.0, SHORT, 3000, Context())
    assert min(found.effective[name] for name in ("energy", "radius", "pair_pooled")) >= 3000
    virial, error = found.mean("virial")
    assert abs(virial - 6) < CRITICAL * error
    energy, error = found.mean("energy")
    assert abs(energy + 22.532) < CRITICAL * sqrt(error**2 + 0.009**2)
    assert found.histogram.sum() == 6 * found.series[..., 0].numel()
    assert found.rate > 0
    assert found.rows.shape[1:] == (3, 2)


def test_another_temperature_has_its_own_virial() -> None:
    """At temperature 2, Σ x·∇U = 2 · 6 on average; false alarm 1e-5."""
    virial, error = run_hmc(double_well_cluster(), 2.0, SHORT, 2000, Context()).mean("virial")
    assert abs(virial / 2 - 6) < CRITICAL * error / 2


@pytest.fixture(scope="module")
def liquid_rows() -> np.ndarray:
    """Rows of LJ13, (row, 39)."""
    found = run_hmc(lennard_jones_cluster(), 1.0, CompiledHMC(chains=64, warmup=150, steps=(24,)), 4000, Context())
    cluster = lennard_jones_cluster()
    centre = cluster.target(1.0).potential
    return np.asarray(centre.inner(found.rows).reshape(len(found.rows), -1))  # type: ignore[union-attr, operator]


@pytest.mark.slow
def test_own_rows_pass_their_audit_and_a_wrong_coefficient_does_not(liquid_rows: np.ndarray, tmp_path: Path) -> None:
    """The depth that the virial finds is the one that rows were drawn with, 2; false alarm 1e-5."""
    path = written(tmp_path / "rows.npy", liquid_rows)
    for depth in (2.0, 1.0):
        cluster = lennard_jones_cluster(depth=depth)
        own = run_hmc(cluster, 1.0, CompiledHMC(chains=32, warmup=150, steps=(24,)), 1000, Context())
        figures = {f.name: f for f in given_figures(read_positions(path, cluster), cluster, 1.0, own)}
        found = figures["depth_by_virial"]
        assert found.standard_error is not None
        assert abs(found.value - 2) < CRITICAL * found.standard_error
        assert figures["virial_z"].passed is (depth == 2.0)
        assert figures["repeated_rows"].passed
        assert figures["centre_of_mass"].passed


def test_repeated_and_uncentred_rows_are_named(liquid_rows: np.ndarray, tmp_path: Path) -> None:
    wrong = np.concatenate([liquid_rows, liquid_rows[:500]]) + 1.5
    cluster = lennard_jones_cluster()
    own = run_hmc(cluster, 1.0, CompiledHMC(chains=32, warmup=150, steps=(24,)), 1000, Context())
    given = read_positions(written(tmp_path / "wrong.npy", wrong), cluster)
    figures = {f.name: f for f in given_figures(given, cluster, 1.0, own)}
    assert figures["repeated_rows"].value == pytest.approx(500 / len(wrong))
    assert figures["repeated_rows"].passed is False
    assert figures["centre_of_mass"].value == pytest.approx(1.5)
    assert figures["centre_of_mass"].passed is False
    assert figures["virial_z"].passed


def test_the_public_dw4_rows_repeat_each_other(shared: Path) -> None:
    """30,091 distinct rows of 100,000 in the training split."""
    path = shared / "molecules" / "train_split_DW4.npy"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    given = read_positions(path, double_well_cluster())
    assert len(np.unique(given.kinds)) == 30_091
    assert given.offset > 10


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (np.zeros((60, 8)), "on top of each other"),
        (np.ones((60, 9)), "numbers a row"),
        (np.full((60, 8), np.nan), "not finite"),
        (np.ones((5, 8)), "50 or more"),
    ],
    ids=["touching", "shape", "nan", "few"],
)
def test_rows_that_are_none_are_refused(rows: np.ndarray, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        read_positions(written(tmp_path / "rows.npy", rows), double_well_cluster())


@pytest.mark.parametrize(
    "study",
    [
        dw4.Study(temperature=0.0),
        dw4.Study(temperature=float("nan")),
        dw4.Study(temperature=1e6),
        dw4.Study(particles=1),
        dw4.Study(chains=1),
        dw4.Study(effective=10),
        dw4.Study(training=-1.0),
        dw4.Study(training=5.0, sampler="hmc"),
        lj13.Study(depth=0.0),
        lj13.Study(temperature=-1.0),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused(study: Any) -> None:
    with pytest.raises(OptionError):
        study(Context())


@pytest.mark.slow
def test_the_study_chooses_hmc_and_every_gate_holds() -> None:
    """Gates at 4 standard errors: false alarm below 1e-3."""
    outcome = dw4.Study(effective=10_000, chains=32)(Context())
    assert outcome.report.passed
    assert outcome.scores["sampler"] == "hmc"
    assert isinstance(outcome, Outcome)
    for picture in outcome.pictures.values():
        assert picture().axes


@pytest.mark.slow
def test_replica_exchange_answers_the_same() -> None:
    outcome = dw4.Study(effective=3000, sampler="replica-exchange")(Context())
    assert outcome.report.passed


@pytest.mark.slow
def test_a_thin_gas_has_the_pairs_and_the_pressure_of_the_second_virial_coefficient() -> None:
    """g(r) = exp(-u/T) and P = ρT (1 + B₂ρ) at ρ = 0.005, where terms of ρ² are below 0.1 %; false alarm 1e-4."""
    fluid, temperature = LennardJonesFluid(32, 0.005, 4.0), 2.0
    method = CompiledHMC(draws=1500, warmup=150, chains=16, steps=(8,), between=2, start=Lattice(fluid))
    draws = simulate(fluid, temperature, method, Context())
    found = measured(fluid, temperature, draws, bins=40)
    wanted = 0.005 * temperature * (1 + second_virial(temperature, fluid) * 0.005)
    assert abs(found.pressure[0] - fluid.tail_pressure() - wanted) < CRITICAL * found.pressure[1] + 1e-3 * wanted
    near = (found.distance > 1.2) & (found.distance < 4)
    r = found.distance[near]
    exact = np.exp(-(4 * (r**-12 - r**-6) - 4 * (4.0**-12 - 4.0**-6)) / temperature)
    away = (found.pairs[near] - exact) / np.hypot(found.errors[near], 0.02 * exact)
    assert np.abs(away).max() < 5


def test_the_second_virial_coefficient_vanishes_at_the_boyle_temperature() -> None:
    """T = 3.417928 ε/k; B₂(1) = -5.3158 σ³ (both from the series in Hirschfelder, Curtiss & Bird, 1954)."""
    assert abs(second_virial(3.417928)) < 1e-4
    assert second_virial(1.0) == pytest.approx(-5.3158, abs=5e-4)


def test_the_fluid_begins_without_overlaps_and_refuses_no_temperature() -> None:
    fluid = LennardJonesFluid(64, 0.5)
    assert float(fluid.squared_distances(fluid.lattice()).min()) > 0.9
    assert isinstance(Boltzmann(fluid, 1.0).energy(fluid.lattice()[None]), torch.Tensor)
    with pytest.raises(OptionError):
        simulate(fluid, 0.0, CompiledHMC(), Context())
