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


def several(*names: str, words: tuple[str, ...] = DEMO) -> Callable[[], dict[str, float]]:
    """What measures several scores of one run."""
    return lambda: {name: float(scores(*words)[name]) for name in names}


def broken() -> dict[str, float]:
    """Cells of all members of a run that change against the rules, by run."""
    runs = {"demo200": DEMO, "city": CITY, "land use": LAND_USE, "CORINE": COVER}
    names = ("off_total", "forbidden", "closed_changed")
    return {run: sum(float(scores(*words)[name]) for name in names) for run, words in runs.items()}


def over(name: str, other: str) -> Callable[[], float]:
    """What measures one score of the demo less another."""
    return lambda: float(scores(*DEMO)[name]) - float(scores(*DEMO)[other])


ASKED = [
    Asked("demo200, 1970 to 1990: figure of merit above the null", 1e-9, 1, score("figure_of_merit", *DEMO)),
    Asked("demo200: figure of merit less the logistic automaton's", 1e-9, 1, score("figure_of_merit_lead", *DEMO)),
    Asked(
        "demo200: members' figure of merit less the automaton's members'",
        1e-9,
        1,
        over("members.figure_of_merit", "cellular_automaton.members.figure_of_merit"),
    ),
    Asked(
        "demo200: calibration error of the probability of change",
        0,
        0.03,
        several("calibration_error", "members.calibration_error", "trend.calibration_error"),
    ),
    Asked("cells off the totals, forbidden or closed, in any member", 0, 0, broken),
    Asked(
        "seven classes of land use, half the squares: figure of merit less the automaton's",
        1e-9,
        1,
        score("figure_of_merit_lead", *LAND_USE),
    ),
    Asked("made-up city: error of the probability [rms]", 0, 0.1, score("error_of_probability", *CITY)),
    Asked("made-up city: log score over that of the true law", -math.inf, 1.15, score("log_score_over_truth", *CITY)),
]
