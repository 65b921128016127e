"""What full-waveform inversion promises. Marmousi is looked for in $POSTERIORI_DATA, else in ../shared/data.

The comparison with deepwave gives each of five contestants FWI_MINUTES (30 without) of both cores.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from asked import Asked, score, scores
from posteriori.domains.geophysics import misfit_basins

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POSTERIORI_DATA", ROOT.parent / "shared" / "data"))
MODEL = DATA / "geophysics" / "vp_marmousi_bi"
INF = math.inf
SMALL = ("geophysics/fwi",)
MARMOUSI = (
    "geophysics/fwi",
    f"model={MODEL}",
    "window=2257.5,9750",
    "block=3",
    "shots=24",
    "receivers=166",
    "seconds=4",
    "rank=800",
    "supershots=8",
    "effort=4",
)


@cache
def bench() -> dict[str, Any]:
    """The contestants by name, from one run."""
    words = [sys.executable, "bench/fwi.py", "--model", str(MODEL), "--window", "2257.5", "9750", "--block", "3"]
    words += ["--shots", "24", "--receivers", "166", "--seconds", "4"]
    minutes = float(os.environ.get("FWI_MINUTES", "30"))
    words += ["--minutes", str(minutes), "--effort", str(max(1.0, minutes / 6))]
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def over_peers() -> dict[str, float]:
    """Error of the section over that of each peer at equal wall time."""
    own = bench()["posteriori"]["rmse"]
    return {name: own / found["rmse"] for name, found in bench().items() if name != "posteriori"}


def basins() -> dict[str, float]:
    """Half-widths of the basins of envelope and transport, over that of least squares."""
    every = misfit_basins.every()
    near = misfit_basins.basin(every["least squares"])
    return {name: misfit_basins.basin(every[name]) / near for name in ("envelope", "optimal transport")}


ASKED = [
    Asked("synthetic section: RMSE [m/s], start 235", -INF, 150, score("rmse", *SMALL)),
    Asked("synthetic section: 90 % coverage where resolved", 0.80, 0.97, score("coverage90", *SMALL)),
    Asked("basin of a misfit over that of least squares", 2, INF, basins),
    Asked("Marmousi: 90 % coverage of cells with resolution > 0.5", 0.80, 0.97, score("coverage90", *MARMOUSI)),
    Asked("Marmousi: inversion [s] on 2 cores", -INF, 1800, score("seconds_inversion", *MARMOUSI)),
    Asked(
        "Marmousi: RMSE over that of the start",
        -INF,
        0.8,
        lambda: float(scores(*MARMOUSI)["rmse"]) / float(scores(*MARMOUSI)["rmse_start"]),
    ),
    Asked("Marmousi: RMSE over deepwave's, equal wall time", -INF, 0.999, over_peers),
]
