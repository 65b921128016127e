"""Own STEPS beside that of pysteps on the same radar frames: CRPS and FSS at 1 mm.

Needs pysteps, which is no dependency.

``python scripts/compare_rain.py``; the frames are looked for in $POSTERIORI_DATA, else in ../shared/data.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from pysteps import nowcasts

from posteriori.audit.rasters.ensemble import field_crps, outer_ranks
from posteriori.audit.rasters.windows import fractions_skill
from posteriori.core.random import Rng
from posteriori.domains.geography.motion import inside, motion, origins
from posteriori.domains.geography.rain_data import rain_of
from posteriori.domains.geography.raster import read_raster
from posteriori.domains.geography.steps import WET, Steps, decibels

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POSTERIORI_DATA", ROOT.parent / "shared" / "data"))
STARTS = range(46, 70, 2)


def peer(past: np.ndarray, ahead: int, members: int) -> np.ndarray:
    """Members of pysteps' STEPS with its usual settings along our motion, NaN where rain comes from outside.

    Its own motion wants OpenCV.
    """
    logs = np.stack([decibels(frame) for frame in past])
    velocity = motion([np.log1p(10 * frame) for frame in past])[::-1]
    found = nowcasts.get_method("steps")(
        logs, velocity, ahead, n_ens_members=members, n_cascade_levels=6, precip_thr=10 * np.log10(WET),
        kmperpixel=2.0, timestep=10, noise_method="nonparametric", vel_pert_method="bps", mask_method="incremental",
        probmatching_method="cdf", seed=24, num_workers=1,
    )[:, -1]  # fmt: skip
    return np.where(found < 10 * np.log10(WET), np.where(np.isnan(found), np.nan, 0.0), 10 ** (found / 10))


def main() -> None:
    """A table of both at 30 and 60 minutes."""
    rain = rain_of(read_raster(DATA / "geography" / "bom_radar" / "*.nc"), 4)
    for ahead in (3, 6):
        rows: dict[str, list[tuple[float, float]]] = {"own": [], "pysteps": []}
        events: dict[str, list[torch.Tensor]] = {"own": [], "pysteps": [], "truth": [], "mask": []}
        for start in STARTS:
            past = rain.fields[start - 2 : start + 1]
            if (past[-1] >= WET).mean() < 0.01:
                continue
            known = inside(origins(motion([np.log1p(10 * frame) for frame in past]), ahead))
            members = {"own": Steps()(list(past), ahead, Rng(start)), "pysteps": peer(past, ahead, 20)}
            mask = torch.from_numpy(known & ~np.isnan(members["pysteps"]).any(0) & rain.known[start + ahead])
            truth = torch.from_numpy(rain.fields[start + ahead])
            for name, found in members.items():
                ensemble = torch.from_numpy(np.nan_to_num(found))
                crps = float(field_crps(ensemble, truth, mask))
                rows[name].append((crps, float(outer_ranks(ensemble, truth, Rng(1), mask))))
                events[name].append((ensemble >= 1).double().mean(0))
            events["truth"].append(truth >= 1)
            events["mask"].append(mask)
        for name, found in rows.items():
            crps, outer = np.mean(found, 0)
            truth, mask = torch.stack(events["truth"]), torch.stack(events["mask"])
            skills = [fractions_skill(torch.stack(events[name]), truth, width, mask) for width in (1, 5, 11)]
            told = ", ".join(f"{skill:.3f}" for skill in skills)
            print(f"{10 * ahead} min, {name:8}: CRPS {crps:.4f} mm, outer ranks {outer:.2f}, FSS at 2/10/22 km {told}")


if __name__ == "__main__":
    main()
