"""What land change promises. The maps are looked for in $POSTERIORI_DATA, else in ../shared/data."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

from asked import Asked, score, scores

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POSTERIORI_DATA", ROOT.parent / "shared" / "data")) / "geography"
SLEUTH, CORINE = DATA / "sleuth" / "demo200", DATA / "pylandstats"
CITY = ("geography/land-change",)
DEMO = (
    *CITY,
    f"data={SLEUTH}.urban.*.gif",
    f"drivers={SLEUTH}.roads.*.gif,{SLEUTH}.slope.gif",
    f"excluded={SLEUTH}.excluded.gif",
)
COVER = (*CITY, f"data={CORINE}/ls250_06.tif,{CORINE}/ls250_12.tif")
LAND_USE = (*CITY, f"data={SLEUTH}.landuse.1930.gif,{SLEUTH}.landuse.1990.gif", f"drivers={SLEUTH}.slope.gif")


def saved(file: str, *names: str) -> str:
    """Rasters of one file that R saved, as an option takes them."""
    return ",".join(f"{DATA}/lulcc/{file}.rda:{name}" for name in names)


PLUM = (
    *CITY,
    "data=" + saved("pie", "lu_pie_1985", "lu_pie_1991", "lu_pie_1999"),
    "drivers=" + saved("pie", "ef_001", "ef_002", "ef_003"),
)
SIBUYAN = (
    *CITY,
    "data=" + saved("sibuyan", "lu_sib_1997", "lu_sib_2011"),
    "drivers=" + saved("sibuyan", *(f"ef_{at:03d}" for at in range(1, 14))),
    "protected=" + saved("sibuyan", "restr1"),
)
REAL = {"demo200": DEMO, "Plum Island": PLUM, "Sibuyan": SIBUYAN, "land use": LAND_USE}


def several(*names: str, words: tuple[str, ...] = DEMO) -> Callable[[], dict[str, float]]:
    """What measures several scores of one run."""
    return lambda: {name: float(scores(*words)[name]) for name in names}


def each(name: str) -> Callable[[], dict[str, float]]:
    """What measures one score on each set of real maps of which several classes or many cells change."""
    return lambda: {run: float(scores(*words)[name]) for run, words in REAL.items()}


def broken() -> dict[str, float]:
    """Cells of all members of a run that change against the rules, by run."""
    names = ("off_total", "forbidden", "closed_changed")
    runs = REAL | {"city": CITY, "CORINE": COVER}
    return {run: sum(float(scores(*words)[name]) for name in names) for run, words in runs.items()}


def over(name: str, other: str) -> Callable[[], dict[str, float]]:
    """What measures one score less another, of each set of real maps."""
    return lambda: {run: float(scores(*words)[name]) - float(scores(*words)[other]) for run, words in REAL.items()}


ASKED = [
    Asked("figure of merit, above the null's 0", 1e-9, 1, each("figure_of_merit")),
    Asked("figure of merit less the logistic automaton's", 1e-9, 1, each("figure_of_merit_lead")),
    Asked(
        "members' figure of merit less the automaton's members'",
        1e-9,
        1,
        over("members.figure_of_merit", "cellular_automaton.members.figure_of_merit"),
    ),
    Asked("calibration error of the probability of change", 0, 0.03, each("calibration_error")),
    Asked(
        "demo200: calibration error of members, and with the amount foretold by the trend",
        0,
        0.03,
        several("members.calibration_error", "trend.calibration_error"),
    ),
    Asked("cells off the totals, forbidden or closed, in any member", 0, 0, broken),
    Asked("made-up city: error of the probability [rms]", 0, 0.1, score("error_of_probability", *CITY)),
    Asked("made-up city: log score over that of the true law", -math.inf, 1.15, score("log_score_over_truth", *CITY)),
]
