"""What filling under clouds promises. Stacks are looked for in $POSTERIORI_DATA, else in ../shared/data."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from asked import Asked, score, scores
from posteriori.domains.geography.dineof_setup import DineofSetup, read_gher
from posteriori.domains.geography.raster import read_raster

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POSTERIORI_DATA", ROOT.parent / "shared" / "data")) / "geography"
SEA = DATA / "alboran_sst"
INF = math.inf
DIFFUSION = "left_out.diffusion_over_law"
MADE_UP = ("geography/clouds",)
SST = (
    "geography/clouds",
    f"data={SEA / 'alboranSST_small.nc'}",
    "variable=SST",
    f"hide={SEA / 'dineof.init'}",
    "diffusion=true",
)
NDVI = (
    "geography/clouds",
    f"data={DATA / 'eopatch' / 'NDVI.npy'}",
    f"mask={DATA / 'eopatch' / 'CLM.npy'}",
    f"times={DATA / 'eopatch' / 'timestamps.json'}",
    "diffusion=true",
)


def reference() -> float:
    """The least cross-validation error of the reference run [°C]."""
    errors = read_gher(SEA / "valc.dat")
    return float(np.min(errors[errors > 0]))


def repeated() -> dict[str, float]:
    """Functions that our DINEOF keeps at the reference run's points, less its 3, and how far their errors differ."""
    setup = DineofSetup.read(SEA / "dineof.init")
    raster = read_raster(SEA / "alboranSST_small.nc", "SST")
    assert setup.domain is not None
    values = np.where(setup.domain, raster.values, np.nan)
    held = setup.held(np.isfinite(values))[:, setup.domain]
    days = (raster.times - raster.times[0]) / np.timedelta64(1, "D")
    series, times = torch.from_numpy(values[:, setup.domain]), torch.from_numpy(days)
    found = setup.method.filled(series, times, held=torch.from_numpy(held))
    away = np.abs(np.array(list(found.errors.values())) - read_gher(SEA / "valc.dat")[1:6]).max()
    return {"functions less 3": abs(found.modes - 3.0), "errors [°C]": float(away)}


def over_reference() -> float:
    """Our error at the reference run's own points over its error there."""
    return float(scores(*SST)["rmse"]) / reference()


def both(name: str, *words: str) -> Callable[[], dict[str, float]]:
    """A score over that of lines over time and of DINEOF."""
    return lambda: {peer: float(scores(*words)[f"{name}_{peer}"]) for peer in ("interpolation", "dineof")}


def row(*words: str) -> Callable[[], dict[str, float]]:
    """What the table of the page says of a stack, intervals and all."""

    def measured() -> dict[str, float]:
        found = scores(*words)
        ends = ("crps_over_interpolation", "crps_over_dineof", "coverage90")
        names = [f"{peer}{score}" for score in ("crps", "rmse") for peer in ("", "interpolation.", "dineof.")]
        names += [name + end for name in ends for end in ("", ".low", ".high")]
        return {name: float(found[name]) for name in ("cells", *names, "interpolation.coverage90", "dineof.coverage90")}

    return measured


ASKED = [
    Asked("Alboran SST: our DINEOF against its reference run", 0, 1e-9, repeated),
    Asked("Alboran SST: RMSE over the reference run's", -INF, 0.999, over_reference),
    Asked("Alboran SST: 90 % coverage", 0.87, 0.93, score("coverage90", *SST)),
    Asked("NDVI: CRPS over lines over time", -INF, 0.85, score("crps_over_interpolation", *NDVI)),
    Asked("NDVI: CRPS over DINEOF", -INF, 0.999, score("crps_over_dineof", *NDVI)),
    Asked("NDVI: 90 % coverage", 0.87, 0.93, score("coverage90", *NDVI)),
    Asked("made-up drifting field: CRPS over both", -INF, 0.999, both("crps_over", *MADE_UP)),
    Asked("Alboran SST: row of the table (shown)", -INF, INF, row(*SST)),
    Asked("NDVI: row of the table (shown)", -INF, INF, row(*NDVI)),
    Asked("made-up drifting field: row of the table (shown)", -INF, INF, row(*MADE_UP)),
    Asked("Alboran SST: CRPS with diffusion over without (shown)", -INF, INF, score(DIFFUSION, *SST)),
    Asked("NDVI: CRPS with diffusion over without (shown)", -INF, INF, score(DIFFUSION, *NDVI)),
    Asked("made-up drifting field: 90 % coverage below all clouds", 0.87, 0.93, score("clouded.coverage90", *MADE_UP)),
]
