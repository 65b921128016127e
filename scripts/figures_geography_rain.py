"""What nowcasts of rain promise. Radar frames are looked for in $POSTERIORI_DATA, else in ../shared/data."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

from asked import Asked, score, scores

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POSTERIORI_DATA", ROOT.parent / "shared" / "data"))
FRAMES = DATA / "geography" / "bom_radar" / "*.nc"
INF = math.inf


def run(lead: int) -> tuple[str, ...]:
    """The words of one run."""
    return ("geography/rain", f"data={FRAMES}", f"lead={lead}")


def powers(lead: int) -> Callable[[], dict[str, float]]:
    """Lowest and highest power of members over the truth's."""
    return lambda: {name: float(scores(*run(lead))[f"psd_{name}"]) for name in ("low", "high")}


def flatter(lead: int) -> Callable[[], float]:
    """Unevenness of the rank histogram over that of STEPS."""
    return lambda: float(scores(*run(lead))["rank_unevenness"]) / float(scores(*run(lead))["steps.rank_unevenness"])


ASKED = [
    asked
    for lead in (30, 60)
    for asked in (
        Asked(f"radar rain +{lead} min: CRPS over STEPS", -INF, 1, score("crps_over_steps", *run(lead))),
        Asked(f"radar rain +{lead} min: FSS at 1 mm less that of STEPS", 0, INF, score("fss_gain_1", *run(lead))),
        Asked(f"radar rain +{lead} min: power over the truth's", 0.8, 1.25, powers(lead)),
        Asked(f"radar rain +{lead} min: unevenness of ranks over STEPS", -INF, 1, flatter(lead)),
    )
]
