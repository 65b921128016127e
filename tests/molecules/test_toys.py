"""The toys' truth against one-dimensional integrals, and what the studies say against the truth."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, pi, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from posteriori import Rng
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, OptionError
from posteriori.core.run import Context
from posteriori.domains.molecules.studies import double_well as well_study
from posteriori.domains.molecules.studies import mueller_brown as surface_study
from posteriori.domains.molecules.toy import Toy, Truth, double_well, mueller_brown
from posteriori.domains.molecules.toy_rows import measured
from posteriori.domains.molecules.toy_weights import loaded, saved, shipped
from posteriori.inference.boltzmann import BoltzmannGenerator
from posteriori.inference.boltzmann_training import Training
from posteriori.inference.hmc import HMC

SMALL = Training(steps=3, batch=64, transforms=1, hidden=(8,), bins=4)
RUNS = HMC(draws=10, warmup=20, chains=8, steps=3)


def along_x(temperature: float, low: float, high: float) -> float:
    return float(quad(lambda x: exp(-(x**4 / 4 - 3 * x**2 + x) / temperature), low, high, epsabs=0, limit=200)[0])


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.0])
def test_the_double_well_is_a_product_of_two_integrals(temperature: float) -> None:
    truth = Truth.of(double_well(), temperature)
    left, right = along_x(temperature, -7, 0), along_x(temperature, 0, 7)
    assert truth.log_z == pytest.approx(log((left + right) * sqrt(2 * pi * temperature)), abs=1e-9)
    assert truth.delta_f == pytest.approx(log(left / right), abs=1e-5)
    edges = torch.tensor([-3.0, -2.0, -1.0, 2.0])
    exact = [-log(along_x(temperature, a, b) / (left + right) / (b - a)) for a, b in ((-3, -2), (-2, -1), (-1, 2))]
    np.testing.assert_allclose(truth.profile(edges).numpy(), exact, atol=1e-6)


def test_known_free_energies_come_out() -> None:
    """4.777 kT and 2.216 kT, from an independent quadrature of 1501 × 1501 nodes."""
    assert Truth.of(double_well(), 1.0).delta_f == pytest.approx(4.777, abs=6e-4)
    assert Truth.of(mueller_brown(), 15.0).delta_f == pytest.approx(2.216, abs=6e-4)


def test_the_quadrature_has_converged_and_gives_the_derivatives_of_log_z() -> None:
    """d log Z / d log β = -⟨βU⟩ and its next derivative, by differences."""
    toy, h = mueller_brown(), 1e-3
    low, mid, high = (Truth.of(toy, 15.0 * exp(-s * h), 501) for s in (-1, 0, 1))
    assert Truth.of(toy, 15.0, 1001).log_z == pytest.approx(mid.log_z, abs=1e-8)
    slope = (high.log_z - low.log_z) / (2 * h)
    curve = (high.log_z - 2 * mid.log_z + low.log_z) / h**2
    assert -slope == pytest.approx(mid.energy, abs=1e-5)
    assert curve - slope == pytest.approx(mid.heat_capacity, abs=1e-3)


def test_forward_ess_of_the_law_itself_is_one_and_of_a_missed_corner_small() -> None:
    toy = double_well()
    truth, target = Truth.of(toy, 1.0, 901), toy.target(1.0)

    def exact(x: Tensor) -> Tensor:
        return -target.energy(x) - truth.log_z

    assert truth.forward_ess(exact) == pytest.approx(1.0, abs=1e-6)
    # 1 / (∫ over the left of p²/q + ∫ over the right) with q lowered by e⁸ on the right
    known = 1 / (truth.share + (1 - truth.share) * exp(8))
    lowered = truth.forward_ess(lambda x: exact(x) - 8.0 * (1 - toy.first(x)))
    assert lowered == pytest.approx(known, rel=1e-4)


@pytest.mark.parametrize(("toy", "temperature"), [(double_well(), 3.0), (mueller_brown(), 9.0)])
def test_temperatures_that_the_box_is_not_made_for_are_refused(toy: Toy, temperature: float) -> None:
    with pytest.raises(OptionError, match="outside"):
        Truth.of(toy, temperature)


def test_figures_of_weighted_rows_are_those_of_the_truth() -> None:
    """Uniform rows of the box, weighed exactly; 5 standard errors from 20 groups: false alarm 8e-5 a figure."""
    toy = mueller_brown()
    truth = Truth.of(toy, 15.0, 601)
    low, high = torch.tensor([-1.8, -0.6]), torch.tensor([1.4, 2.2])
    x = low + (high - low) * Rng(1).uniform((400_000, 2))
    raw = -toy.target(15.0).energy(x) + log(3.2 * 2.8)
    rows = Draws(toy.potential.domain, x, raw, log_evidence=torch.logsumexp(raw, 0) - log(len(x)))
    edges = torch.linspace(-1.4, 1.0, 9, dtype=torch.float64)
    found = measured(toy, 1 / 15, rows, 20, edges)
    exact = truth.profile(edges)
    for (value, error), known in (
        (found.share, truth.share),
        (found.energy, truth.energy),
        (found.heat_capacity, truth.heat_capacity),
        (found.delta_f, truth.delta_f),
    ):
        assert abs(value - known) < 5 * error
    assert bool(((found.profile[0] - exact).abs() < 5 * found.profile[1] + 1e-3).all())


def test_the_file_of_a_generator_gives_its_densities_to_the_last_bit(tmp_path: Path) -> None:
    toy = double_well()
    blank = BoltzmannGenerator(160, 4, SMALL, RUNS)
    fitted = blank.fit(toy.target(1.0), seed=3)
    saved(fitted, tmp_path / "w.safetensors")
    again = loaded(toy, 1.0, blank, tmp_path / "w.safetensors")
    x = Rng(0).normal((50, 2))
    assert fitted.proposal is not None
    assert again.proposal is not None
    assert torch.equal(fitted.proposal.log_prob(x), again.proposal.log_prob(x))
    with pytest.raises(DataError, match="holds no generator"):
        loaded(toy, 1.0, replace(blank, training=Training()), tmp_path / "w.safetensors")
    with pytest.raises(DataError, match="train=yes"):
        loaded(toy, 1.0, blank, tmp_path / "absent.safetensors")


@pytest.mark.parametrize("study", [well_study.Study(quick=True), surface_study.Study(quick=True)])
def test_the_shipped_generators_pass_their_gates(study: well_study.Study | surface_study.Study) -> None:
    """ESS both ways above 0.95 by quadrature; figures within 5 standard errors of 16 groups: false alarm 2e-3."""
    outcome = study(Context(Rng(0)))
    assert outcome.report["ess_reverse"].passed
    assert outcome.report["ess_forward"].passed
    assert outcome.report["pareto_k"].passed
    assert all(outcome.report[f"z.{name}"].passed for name in ("share", "energy", "heat_capacity", "log_z"))
    assert outcome.posterior is not None
    for picture in outcome.pictures.values():
        picture()


def test_shipped_weights_are_small() -> None:
    assert sum(shipped(toy).stat().st_size for toy in (double_well(), mueller_brown())) < 400_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"draws": 1000}, "draws=1000"),
        ({"draws": 5000, "quick": True}, "draws=5000: .* from 8,192 .* an eighth"),
        ({"steps": 0}, "steps=0"),
        ({"temperature": 9.0}, "outside 10 to 20"),
        ({"temperature": 12.0, "train": False}, "train=yes"),
        ({"temperature": float("nan")}, "nan"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        surface_study.Study(**options)(Context(Rng(0)))  # type: ignore[arg-type]
