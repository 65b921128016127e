"""The forecast of rain and our own STEPS beside pysteps' STEPS: same frames, starts, cells and number of members.

Needs pysteps, which is no dependency.

``python scripts/compare_rain.py``; the frames are looked for in $POSTERIORI_DATA, else in ../shared/data.
"""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

with contextlib.redirect_stdout(io.StringIO()):
    from pysteps import nowcasts

from posteriori.core.random import Rng
from posteriori.domains.geography.motion import motion
from posteriori.domains.geography.rain_choice import OURS
from posteriori.domains.geography.rain_contest import STEPS, Contest, past, wet_starts
from posteriori.domains.geography.rain_data import rain_of
from posteriori.domains.geography.raster import read_raster
from posteriori.domains.geography.steps import WET, decibels

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POSTERIORI_DATA", ROOT.parent / "shared" / "data"))
PEER = "pysteps"
LAST, GAP, MEMBERS, BLOCK = 41, 2, 20, 4
"""Those of the study: last frame learnt from, frames between, members, frames that are resampled together."""


def peer(frames: list[NDArray[np.float64]], ahead: int) -> NDArray[np.float64]:
    """Members of pysteps' STEPS with its usual settings along our motion, NaN where rain comes from outside.

    Its own motion wants OpenCV.
    """
    logs = np.stack([decibels(frame) for frame in frames])
    velocity = motion([np.log1p(10 * frame) for frame in frames])[::-1]
    with contextlib.redirect_stdout(io.StringIO()):
        found = nowcasts.get_method("steps")(
            logs, velocity, ahead, n_ens_members=MEMBERS, n_cascade_levels=6, precip_thr=10 * np.log10(WET),
            kmperpixel=2.0, timestep=10, noise_method="nonparametric", vel_pert_method="bps", mask_method="incremental",
            probmatching_method="cdf", seed=24, num_workers=1,
        )[:, -1]  # fmt: skip
    return np.where(found < 10 * np.log10(WET), np.where(np.isnan(found), np.nan, 0.0), 10 ** (found / 10))


def main() -> None:
    """A table of all three at 30 and 60 minutes, and ratios of CRPS and gains in skill with 95 % intervals."""
    rain = rain_of(read_raster(DATA / "geography" / "bom_radar" / "*.nc"), 4)
    for ahead in (3, 6):
        contest = Contest.learnt(rain, LAST, ahead, 1.0, MEMBERS, Rng(0))
        starts = wet_starts(rain, range(LAST + GAP + 3, len(rain.fields) - ahead))
        found = {start: peer(past(rain, start), ahead) for start in starts}
        judged = contest.judged(starts, (1.0,), BLOCK, Rng(1), {PEER: lambda start, of=found: np.nan_to_num(of[start])})
        whole = torch.from_numpy(np.stack([~np.isnan(members).any(0) for members in found.values()]))
        judged = replace(judged, mask=judged.mask & whole)
        print(f"{10 * ahead} min, {len(starts)} forecasts, {contest.choice.share:g} of the members by the law")
        for name in (OURS, STEPS, PEER):
            skills = ", ".join(f"{judged.skill(name, 1.0, width):.3f}" for width in (1, 5, 11))
            power, crps = judged.spectrum_ratio(name), judged.crps[name].mean()
            print(
                f"  {name:8}: CRPS {crps:.4f} mm, FSS at 2/10/22 km {skills}, power {power.min():.2f}"
                f" to {power.max():.2f}, ranks {judged.unevenness(name):.3f}, outer {judged.outer(name):.2f}"
            )
        for ours, theirs in ((OURS, PEER), (STEPS, PEER), (OURS, STEPS)):
            ratio, gain = judged.ratio(ours, theirs), judged.skill_gain(ours, theirs, 1.0, 1)
            print(f"  {ours} over {theirs}: CRPS {ratio}, FSS {gain}", flush=True)


if __name__ == "__main__":
    main()
