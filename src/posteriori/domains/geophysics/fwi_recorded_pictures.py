"""Pictures of an inversion of a user's records: sections, shots that were and were not fitted, wavelet, wells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from posteriori.domains.geophysics.fwi_pictures import WELLS
from posteriori.domains.geophysics.fwi_recorded import Found
from posteriori.domains.geophysics.pictures import (
    Marks,
    Profile,
    curves_picture,
    gathers_picture,
    profiles_picture,
    sections_picture,
)
from posteriori.domains.picture import Colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class RecordedPictures:
    """What an inversion of records found, ready to be drawn."""

    found: Found

    def every(self) -> dict[str, Callable[[], Figure]]:
        """By caption."""
        fitted = np.setdiff1d(np.arange(len(self.found.recording.names)), self.found.held)
        drawn: dict[str, Callable[[], Figure]] = {
            "Start, inversion, and what changed": self.sections,
            "How sure each cell is, and how much of it the records tell": self.certainty,
            "A shot that was fitted: observed, predicted by start and result, and what is left": lambda: self.gathers(
                int(fitted[len(fitted) // 2])
            ),
            "Way to the mode: energy of each band over its first": self.convergence,
            "Wavelet of the source, as estimated with the result": self.wavelet,
            "Velocity down three wells, with 90 % intervals": self.wells,
        }
        if len(self.found.held):
            drawn["A shot that was held out: observed, predicted by start and result, and what is left"] = lambda: (
                self.gathers(int(self.found.held[0]))
            )
        return drawn

    def sections(self) -> Figure:
        """Start and mode on one scale, their difference on its own."""
        start, mode = self.found.start.values, self.found.posterior.location.numpy()
        both = np.concatenate([start.ravel(), mode.ravel()])
        low, high = np.percentile(both, [2, 98])
        shared = Colours("velocity [m/s]", float(low), float(high))
        panels = {"start": start, "inversion": mode, "inversion - start": mode - start}
        colours = {"start": shared, "inversion": shared, "inversion - start": Colours("[m/s]", centred=True)}
        spread = self.found.recording.spread
        receivers = spread.receivers.reshape(-1, 2)
        marks = (
            Marks(receivers[:, 1], receivers[:, 0], "receivers", ".", "white"),
            Marks(spread.sources[:, 1], spread.sources[:, 0], "sources", "v", "tab:red"),
        )
        return sections_picture(panels, *self._axes, colours, marks)

    def certainty(self) -> Figure:
        """Standard deviation and resolution."""
        panels = {
            "standard deviation": self.found.posterior.spread().numpy(),
            "resolution": self.found.resolution.numpy(),
        }
        colours = {
            "standard deviation": Colours("[m/s]", 0.0),
            "resolution": Colours("share of the prior's variance", 0.0, 1.0),
        }
        return sections_picture(panels, *self._axes, colours)

    def gathers(self, shot: int) -> Figure:
        """One shot, in standard deviations, so that strong traces do not hide weak ones; gaps and mutes are blank."""
        recording = self.found.recording
        weight = recording.weight[shot]
        heard = (recording.window[shot].amax(-1) > 0).numpy()
        x = recording.spread.receivers[shot, :, 1]
        order = np.argsort(x)
        order = order[heard[order]]

        def shown(traces: torch.Tensor) -> np.ndarray:
            return (traces * weight).double().numpy()[order]

        d, start, mode = recording.data[shot], self.found.before[shot], self.found.after[shot]
        panels = {"observed": d, "start": start, "result": mode, "left by start": d - start, "left by result": d - mode}
        time = recording.spread.interval * (np.arange(recording.spread.samples)) - 2 / recording.spread.peak
        return gathers_picture(
            {name: shown(t) for name, t in panels.items()}, time, x[order] / 1000, "pressure / σ", "receiver [km]"
        )

    def convergence(self) -> Figure:
        """Energy against gradient evaluations, a curve for each band."""
        curves: dict[str, tuple[pd.Series, pd.Series]] = {}
        done = 0
        for _, rows in self.found.steps.groupby("stage"):
            fallen = rows["energy"] - rows["energy"].iloc[0]
            curves[f"band {len(curves) + 1}"] = (done + rows["calls"], fallen)
            done += int(rows["calls"].iloc[-1])
        return curves_picture(curves, "gradient evaluations", "-log posterior, less that of the band's first step")

    def wavelet(self) -> Figure:
        """Against time from the shot."""
        spread = self.found.recording.spread
        values = self.found.wavelet.double().numpy()
        time = spread.interval * np.arange(len(values)) - 2 / spread.peak
        near = time < 4 / spread.peak
        return curves_picture({"estimate": (time[near], values[near])}, "time from the shot [s]", "source signature")

    def wells(self) -> Figure:
        """Three profiles in depth."""
        z, x = self._axes
        sd, mode = self.found.posterior.spread().numpy(), self.found.posterior.location.numpy()
        profiles = []
        for share in WELLS:
            at = int(share * len(x))
            half, title = 1.645 * sd[:, at], f"x = {x[at] / 1000:.2f} km"
            ends = mode[:, at] - half, mode[:, at] + half
            profiles.append(Profile(title, mode[:, at], *ends, None, self.found.start.values[:, at]))
        return profiles_picture(profiles, z, "velocity [m/s]")

    @property
    def _axes(self) -> tuple[np.ndarray, np.ndarray]:
        z, x = (np.asarray(self.found.start[d].values, float) for d in ("z", "x"))
        return z, x
