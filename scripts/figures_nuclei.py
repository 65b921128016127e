"""What nuclear masses promise. Tables of mass models are looked for in $POSTERIORI_DATA, else in ../shared/data."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

from asked import Asked, score, scores

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
if "POSTERIORI_DATA" not in os.environ and SHARED.is_dir():
    os.environ["POSTERIORI_DATA"] = str(SHARED)

INF = math.inf
SHORT = ("nuclei/masses", "train=2016", "test=2020")
LONG = ("nuclei/masses", "train=2003", "test=2020")
LAWS = ("nuclei/separation", "train=2003", "test=2020")
FREE = "baseline=dz10+dz28"
MIX = "baseline=mix"
ENERGIES = ("S_n", "S_p", "S_2n", "S_2p", "Q_alpha")


def percent(name: str, *words: str) -> Callable[[], float]:
    """A score that is a share, in percent."""
    return lambda: 100 * float(scores(*words)[name])


def covered(*words: str) -> Callable[[], dict[str, float]]:
    """Share of each energy inside the 68 % intervals of the joint law [%]."""
    return lambda: {name: 100 * float(scores(*words)[f"{name}.coverage68"]) for name in ENERGIES}


def by_seed(name: str, *words: str) -> Callable[[], dict[str, float]]:
    """One score for the seeds 0, 1 and 2."""
    return lambda: {f"seed {k}": float(scores(*words, f"seed={k}")[name]) for k in range(3)}


def update_difference() -> float:
    """The largest distance of an updated law from one conditioned on all masses at once."""
    found = scores("nuclei/update")
    return max(float(value) for key, value in found.items() if key.endswith(("mean_difference", "sd_difference")))


def brier_gain() -> float:
    """How much lower the Brier score of P(bound) is than that of the evaluators' values, on the same nuclei."""
    found = scores("nuclei/driplines")
    return float(found["common_brier_evaluators"]) - float(found["common_brier"])


ASKED = [
    Asked("2016 → 2020, mix: RMS [keV]", -INF, 185, score("rms_keV", *SHORT, MIX)),
    Asked("2016 → 2020, mix: CRPS [keV]", -INF, 103, score("crps_keV", *SHORT, MIX)),
    Asked("2016 → 2020, mix: 68 % coverage [%]", 57, 79, percent("coverage68", *SHORT, MIX)),
    Asked("2016 → 2020, mix: 95 % coverage [%]", 88, 99, percent("coverage95", *SHORT, MIX)),
    Asked("2016 → 2020, mix: Mahalanobis²/n", 0.8, 1.3, score("mahalanobis2_per_n", *SHORT, MIX)),
    Asked("2016 → 2020, DZ10 alone: RMS [keV]", -INF, 205, score("rms_keV", *SHORT, "baseline=dz10")),
    Asked("2016 → 2020, DZ10 alone: 68 % coverage [%]", 57, 79, percent("coverage68", *SHORT, "baseline=dz10")),
    Asked("2016 → 2020, DZ10 alone: 95 % coverage [%]", 88, 99, percent("coverage95", *SHORT, "baseline=dz10")),
    Asked("2016 → 2020, DZ10 alone: Mahalanobis²/n", 0.8, 1.3, score("mahalanobis2_per_n", *SHORT, "baseline=dz10")),
    Asked("2003 → 2020, DZ10 and DZ28: RMS [keV]", -INF, 440, score("rms_keV", *LONG, FREE)),
    Asked("2003 → 2020, DZ10 and DZ28: 68 % coverage [%]", 60, 76, percent("coverage68", *LONG, FREE)),
    Asked("2003 → 2020, DZ10 and DZ28: 95 % coverage [%]", 90, 99, percent("coverage95", *LONG, FREE)),
    Asked("2003 → 2020, mix: RMS [keV]", -INF, 390, score("rms_keV", *LONG, MIX)),
    Asked("2003 → 2020, mix: 68 % coverage [%]", 60, 76, percent("coverage68", *LONG, MIX)),
    Asked("2003 → 2020, mix: 95 % coverage [%]", 90, 99, percent("coverage95", *LONG, MIX)),
    Asked("2003 → 2020, DZ10 and DZ28: 68 % coverage of energies [%]", 60, 76, covered(*LAWS, FREE)),
    Asked("2003 → 2020, mix: 68 % coverage of energies [%]", 60, 76, covered(*LAWS, MIX)),
    Asked(
        "S_n, both unmeasured: narrower than with covariance ignored by [%]",
        25,
        INF,
        score("S_n.narrower_percent", *LAWS, FREE),
    ),
    Asked(
        "S_n, both unmeasured: CRPS gained over covariance ignored [keV]",
        0,
        INF,
        score("S_n.crps_gain_keV", *LAWS, FREE),
    ),
    Asked(
        "10 folds of AME2020, WS4: RMS [keV]", -INF, 125, by_seed("rms_keV", "nuclei/crossvalidation", "baseline=ws4")
    ),
    Asked(
        "10 folds of AME2020, DZ10: RMS [keV]", -INF, 135, by_seed("rms_keV", "nuclei/crossvalidation", "baseline=dz10")
    ),
    Asked(
        "7000 nuclei: joint covariance and 1000 tables, one baseline [CPU s]",
        -INF,
        30,
        score("cpu_seconds_per_baseline", "nuclei/export", "baseline=dz10"),
    ),
    Asked("one-mass update [CPU s]", -INF, 1, score("update_seconds", "nuclei/update")),
    Asked("one-mass update, largest difference from conditioning anew [sd]", -INF, 1e-6, update_difference),
    Asked("P(bound): Brier score gained over the signs of AME's own values", 0, INF, brier_gain),
    Asked("measure next: share of a random order's measurements", -INF, 0.7, score("share_of_random", "nuclei/next")),
    Asked(
        "measure next: share of the largest-variance order's measurements",
        -INF,
        0.999,
        score("share_of_largest_variance", "nuclei/next"),
    ),
    Asked("wrong AME2003 values flagged [share]", 0.5, 1, score("learnt.flagged", "nuclei/outliers")),
    Asked("right AME2003 values flagged [share]", 0, 0.05, score("learnt.false_alarms", "nuclei/outliers")),
]
