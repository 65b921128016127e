"""The audit of every posterior: closed forms, laws under repetition, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

from posteriori.audit import scores
from posteriori.audit.report import Gate
from posteriori.audit.scorecard import audit
from posteriori.core.categorical import Categorical
from posteriori.core.covariance import DenseCovariance, DiagonalCovariance, ScaledCovariance
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, OptionError, ShapeError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.mixture import Mixture
from posteriori.core.posterior import Posterior
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Circular, Classes

K = 40
SPACE = Space("mass_excess", {"nuclide": K}, "keV")
NAMES = {"cases", "rms", "bias", "crps", "z_mean", "z_rms", "calibration_error", "pit_p_value", "energy_score"}
GAUSSIAN_NAMES = NAMES | {"log_score", "variogram_score", "mahalanobis2_per_n", "mahalanobis2_p_value"}


def law(scale: float = 10.0) -> Gaussian:
    gap = (torch.arange(K)[:, None] - torch.arange(K)).abs().double()
    matrix = scale**2 * (torch.exp(-gap / 8) + 0.05 * torch.eye(K))
    return Gaussian(SPACE, torch.linspace(-50, 50, K, dtype=torch.float64), DenseCovariance(matrix))


TRUTH = law().sample(1, Rng(5))[0]


def test_a_gaussian_gets_its_closed_forms() -> None:
    posterior = law()
    report = audit(posterior, TRUTH)
    names = {figure.name for figure in report}
    assert names >= GAUSSIAN_NAMES
    assert {f"{kind}{level}" for kind in ("coverage", "width", "interval_score") for level in (68, 90, 95)} <= names
    error, std = posterior.center() - TRUTH, posterior.spread()
    assert report["rms"].value == pytest.approx(error.square().mean().sqrt().item())
    assert report["bias"].value == pytest.approx(error.mean().item())
    assert report["crps"].value == pytest.approx(scores.crps_gaussian(posterior.center(), std, TRUTH).mean().item())
    z = error / std
    assert report["z_rms"].value == pytest.approx(z.square().mean().sqrt().item())
    assert report["coverage90"].value == pytest.approx((z.abs() < 1.6448536).double().mean().item())
    assert report["width68"].value == pytest.approx(2 * 0.994457883 * std.mean().item())
    d2 = (error @ torch.linalg.inv(posterior.covariance.dense()) @ error).item()
    assert report["mahalanobis2_per_n"].value == pytest.approx(d2 / K)
    assert report["joint_log_score_per_n"].value == pytest.approx(-posterior.log_prob(TRUTH).item() / K)
    assert report["rms"].unit == report["energy_score"].unit == "keV"


@pytest.mark.slow
def test_every_figure_of_a_joint_law_has_an_error_that_counts_its_correlations() -> None:
    """Over 60 truths the figures spread by no more than 1.35 of the stated error (spread of a spread: 9 %)."""
    posterior, truths = law(), law().sample(60, Rng(6))
    reports = [audit(posterior, truth, draws=100, rng=Rng(i)) for i, truth in enumerate(truths)]
    for name in ("bias", "rms", "crps", "z_rms", "coverage68", "energy_score", "variogram_score", "mahalanobis2_per_n"):
        values = torch.tensor([report[name].value for report in reports])
        errors = torch.tensor([report[name].standard_error or 0.0 for report in reports])
        assert 0.3 < values.std() / errors.square().mean().sqrt() < 1.35, name


def test_draws_of_a_law_score_as_the_law() -> None:
    """4000 draws against the closed form, within 5 % (fair scores; Monte-Carlo error about 2 %)."""
    exact = audit(law(), TRUTH)
    values = law().sample(4000, Rng(7))
    for posterior in (
        Draws(SPACE, values),
        Draws(SPACE, values, torch.zeros(4000, dtype=torch.float64)),
        Mixture([Draws(SPACE, values[:2000]), Draws(SPACE, values[2000:])]),
    ):
        report = audit(posterior, TRUTH)
        for name in ("rms", "crps", "z_rms", "energy_score", "width90", "interval_score68"):
            assert report[name].value == pytest.approx(exact[name].value, rel=0.05), name
        assert report["coverage90"].value == pytest.approx(exact["coverage90"].value, abs=0.051)
        assert "log_score" not in report
    found = audit(Draws(SPACE, values), TRUTH)["mahalanobis2_per_n"].value
    assert found == pytest.approx(exact["mahalanobis2_per_n"].value, rel=0.1)


def test_importance_weights_undo_the_proposal() -> None:
    wide = Gaussian(
        SPACE.select("nuclide", [0]), torch.zeros(1).double(), DiagonalCovariance(torch.full((1,), 4.0).double())
    )
    target = Gaussian(wide.space, torch.zeros(1).double(), DiagonalCovariance(torch.ones(1).double()))
    x = wide.sample(40_000, Rng(8))
    weighted = Draws(wide.space, x, target.log_prob(x) - wide.log_prob(x))
    y = torch.tensor([0.7], dtype=torch.float64)
    for name in ("crps", "z_rms", "width90"):
        assert audit(weighted, y)[name].value == pytest.approx(audit(target, y)[name].value, rel=0.03), name


def test_a_mixture_uses_its_own_crps_and_total_covariance() -> None:
    members = [law(), Gaussian(SPACE, law().center() + 30, law(5.0).covariance)]
    weights = torch.tensor([0.3, 0.7])
    report = audit(Mixture(members, weights), TRUTH)
    means, stds = (torch.stack(list(x)) for x in ([m.center() for m in members], [m.spread() for m in members]))
    want = scores.crps_mixture(means, stds, weights.double(), TRUTH).mean().item()
    assert report["crps"].value == pytest.approx(want)
    assert report["log_score"].value == pytest.approx(
        scores.log_score_mixture(means, stds, weights.double(), TRUTH).mean().item()
    )
    assert "mahalanobis2_per_n" in report
    assert "mahalanobis2_p_value" not in report


@pytest.mark.parametrize("kind", ["gaussian", "mixture", "draws"])
def test_the_error_of_the_truth_widens_the_law(kind: str) -> None:
    """The law of measured truths: variance + error², in all three forms (draws within 3 %)."""
    gaussian = law()
    posterior: Posterior = {
        "gaussian": gaussian,
        "mixture": Mixture([gaussian, gaussian]),
        "draws": Draws(SPACE, gaussian.sample(4000, Rng(9))),
    }[kind]
    wide = gaussian.spread().square() + 20.0**2
    report = audit(posterior, TRUTH, error=20.0)
    want = 2 * 1.6448536 * wide.sqrt().mean().item()
    assert report["width90"].value == pytest.approx(want, rel=1e-6 if kind != "draws" else 0.03)
    labelled = SPACE.label(torch.full((K,), 0.02, dtype=torch.float64)).assign_attrs(units="MeV")
    assert audit(posterior, TRUTH, error=labelled)["width90"].value == pytest.approx(report["width90"].value)


def test_truth_is_found_by_label_and_unit() -> None:
    want = audit(law(), TRUTH)["rms"].value
    shuffled = SPACE.label(TRUTH / 1000).assign_attrs(units="MeV").isel(nuclide=np.random.default_rng(0).permutation(K))
    assert audit(law(), shuffled)["rms"].value == pytest.approx(want)


def problems_of(n: int, scale: float) -> tuple[Gaussian, Tensor]:
    rng = Rng(10)
    truth = law().sample(n, rng)
    covariance = ScaledCovariance(law().covariance, torch.full((K,), scale).double())
    location = law().center().expand(n, K).clone()
    return Gaussian(SPACE, location, covariance, problems={"case": np.arange(n)}), truth


def test_problems_are_cases_and_over_confidence_shows_everywhere() -> None:
    right, truth = problems_of(60, 1.0)
    narrow, _ = problems_of(60, 0.6)
    good, bad = audit(right, truth, draws=200), audit(narrow, truth, draws=200)
    assert good["cases"].value == 60 * K
    assert good["mahalanobis2_p_value"].value > 1e-3
    assert abs(good["mahalanobis2_per_n"].value - 1) < 4 * (good["mahalanobis2_per_n"].standard_error or 0)
    assert bad["mahalanobis2_per_n"].value == pytest.approx(good["mahalanobis2_per_n"].value / 0.36)
    assert bad["z_rms"].value > 1.5
    assert bad["coverage90"].value < 0.8
    for name in ("crps", "energy_score", "variogram_score", "log_score", "joint_log_score_per_n", "interval_score90"):
        assert bad[name].value > good[name].value, name
    reordered = (
        SPACE.label(truth, {"case": np.arange(60)}).isel(case=slice(None, None, -1)).transpose("nuclide", "case")
    )
    assert audit(right, reordered, draws=200)["rms"].value == pytest.approx(good["rms"].value)


def test_blocks_give_the_error_of_cases_that_go_together() -> None:
    n = 400
    space = Space("t", {"day": n})
    days = Rng(11).normal((n // 10,)).repeat_interleave(10)
    posterior = Gaussian(space, torch.zeros(n).double(), DiagonalCovariance(torch.ones(n).double()))
    plain, blocked = audit(posterior, days), audit(posterior, days, blocks=torch.arange(n) // 10)
    ratio = (blocked["bias"].standard_error or 0) / (plain["bias"].standard_error or 1)
    assert ratio == pytest.approx(math.sqrt(10), rel=0.15)


def test_masked_cells_are_left_out() -> None:
    mask = torch.arange(K) < 30
    space = Space("m", {"nuclide": K}, "keV", mask=mask)
    posterior = Gaussian(space, law().center(), law().covariance)
    truth = TRUTH.clone()
    truth[30:] = math.nan
    report = audit(posterior, truth)
    assert report["cases"].value == 30
    assert report["rms"].value == pytest.approx((law().center() - TRUTH)[:30].square().mean().sqrt().item())


def test_a_joined_space_is_judged_part_by_part_and_as_a_whole() -> None:
    space = Space.of(velocity=Space("v", {"z": 3}, "m/s"), density=Space("r", {"z": 2}, "kg/m^3"))
    scale = torch.tensor([100.0, 100, 100, 1e-2, 1e-2]).double()
    posterior = Gaussian(space, torch.zeros(5).double(), DiagonalCovariance(scale.square()))
    truth = scale * Rng(12).normal((5,))
    report = audit(posterior, truth)
    assert report["velocity.rms"].unit == "m/s"
    assert report["density.rms"].value == pytest.approx(truth[3:].square().mean().sqrt().item())
    assert report["energy_score"].unit == ""
    same = audit(posterior, space.dataset(truth))
    assert same["velocity.crps"].value == pytest.approx(report["velocity.crps"].value)


def test_classes_get_the_scores_of_classes() -> None:
    """9000 cells whose class is drawn as stated: calibration error small, log score = entropy within 4 errors."""
    space = Space("land_use", {"cell": 9000}, support=Classes(("wood", "field", "town")))
    p = torch.softmax(1.5 * Rng(13).normal((9000, 3)), -1)
    posterior = Categorical(space, p)
    truth = posterior.sample(1, Rng(14))[0]
    report = audit(posterior, truth)
    assert report["calibration_error"].value < 0.03
    assert abs(report["log_score"].value - report["entropy"].value) < 4 * (report["log_score"].standard_error or 0)
    assert report["accuracy"].value == pytest.approx((p.argmax(-1) == truth).double().mean().item())
    certain = Categorical(space, torch.tensor([1.0, 0, 0]).expand(9000, 3))
    assert audit(certain, truth)["log_score"].value == math.inf
    with pytest.raises(DataError, match="codes other than"):
        audit(posterior, truth + 1)


def test_gates_judge_and_levels_are_named() -> None:
    report = audit(law(), TRUTH, levels=(0.5, 0.955), gates={"z_rms": Gate(0.5, 2), "coverage95.5": Gate(low=0.999)})
    assert report["z_rms"].passed
    assert "coverage50" in report
    assert audit(law(), TRUTH).json() == audit(law(), TRUTH).json()


def test_what_cannot_be_audited_is_refused() -> None:
    with pytest.raises(ShapeError, match="problems"):
        audit(law(), TRUTH.expand(3, K))
    with pytest.raises(DataError, match="not finite"):
        audit(law(), TRUTH / 0 * 0)
    with pytest.raises(OptionError, match="levels"):
        audit(law(), TRUTH, levels=(90,))
    with pytest.raises(OptionError, match="no figure 'crpz'"):
        audit(law(), TRUTH, gates={"crpz": Gate(high=1)})
    with pytest.raises(ShapeError):
        audit(law(), xr.DataArray(np.zeros(K - 1), {"nuclide": np.arange(K - 1)}, ("nuclide",)))
    angle = Space("a", {"i": 2}, support=Circular(360.0))
    with pytest.raises(UnanswerableError, match="sine"):
        audit(Draws(angle, torch.rand(10, 2)), torch.rand(2))
    point = Gaussian(SPACE, law().center(), DiagonalCovariance(torch.zeros(K).double()))
    with pytest.raises(DataError, match="must be > 0"):
        audit(point, TRUTH)
