"""Pictures of a full-waveform inversion: sections, gathers, convergence, wells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from posteriori.core.gaussian import Gaussian
from posteriori.domains.geophysics.fwi_experiment import Experiment
from posteriori.domains.geophysics.misfit_basins import basins_picture
from posteriori.domains.geophysics.pictures import (
    Profile,
    curves_picture,
    gathers_picture,
    profiles_picture,
    sections_picture,
)
from posteriori.domains.picture import Colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WELLS = (0.25, 0.5, 0.75)
"""Where along the section wells are drawn."""


@dataclass(frozen=True)
class FwiPictures:
    """What an inversion of an experiment found, ready to be drawn.

    Attributes:
        posterior: over the section. resolution: 1 - posterior / prior variance (nz, nx).
        steps: rows of :func:`fwi.invert` with a column ``rmse``. predicted: records of the mode.
    """

    experiment: Experiment
    posterior: Gaussian
    resolution: Tensor
    steps: pd.DataFrame
    predicted: Tensor

    def every(self) -> dict[str, Callable[[], Figure]]:
        """By caption."""
        return {
            "True section, start and inversion": self.sections,
            "How sure each cell is, and how much of it the records tell": self.certainty,
            "Records of one shot: observed, predicted, and what is left": self.gathers,
            "Way to the mode: misfit and error of the section": self.convergence,
            "Velocity down three wells, with 90 % intervals": self.wells,
            "Which misfit survives a wrong start: two Ricker wavelets against the shift between them": basins_picture,
        }

    def sections(self) -> Figure:
        """Truth, start and mode on one scale."""
        e = self.experiment
        panels = {"truth": e.truth.values, "start": e.start.values, "inversion": self.posterior.location.numpy()}
        return sections_picture(panels, *self._axes, Colours("velocity [m/s]"))

    def certainty(self) -> Figure:
        """Standard deviation, error and resolution, each on its own scale."""
        sd = self.posterior.spread().numpy()
        error = self.posterior.location.numpy() - self.experiment.truth.values
        panels = {"standard deviation": sd, "error of the inversion": error, "resolution": self.resolution.numpy()}
        colours = {
            "standard deviation": Colours("[m/s]", 0.0),
            "error of the inversion": Colours("[m/s]", centred=True),
            "resolution": Colours("share of the prior's variance", 0.0, 1.0),
        }
        return sections_picture(panels, *self._axes, colours)

    def gathers(self) -> Figure:
        """The middle shot."""
        e = self.experiment
        shot = len(e.spread.sources) // 2
        d, p = e.data[shot].numpy(), self.predicted[shot].numpy()
        time = e.spread.interval * np.arange(e.spread.samples)
        # the direct wave is tens of times stronger than what came through the rocks
        panels = {"observed": d, "predicted": p, "residual": d - p}
        return gathers_picture(panels, time, e.spread.receivers[:, 1] / 1000, "pressure [Pa]", "receiver [km]")

    def convergence(self) -> Figure:
        """Root-mean-square error against gradient evaluations, a curve for each band."""
        curves: dict[str, tuple[pd.Series, pd.Series]] = {}
        done = 0
        for _, rows in self.steps.groupby("stage"):
            curves[f"band {len(curves) + 1}"] = (done + rows["calls"], rows["rmse"])
            done += int(rows["calls"].iloc[-1])
        return curves_picture(curves, "gradient evaluations", "RMS error of the section [m/s]")

    def wells(self) -> Figure:
        """Three profiles in depth."""
        e = self.experiment
        z, x = self._axes
        sd, mode = self.posterior.spread().numpy(), self.posterior.location.numpy()
        profiles = []
        for share in WELLS:
            at = int(share * len(x))
            half = 1.645 * sd[:, at]
            truth, start = e.truth.values[:, at], e.start.values[:, at]
            title = f"x = {x[at] / 1000:.2f} km"
            profiles.append(Profile(title, mode[:, at], mode[:, at] - half, mode[:, at] + half, truth, start))
        return profiles_picture(profiles, z, "velocity [m/s]")

    @property
    def _axes(self) -> tuple[np.ndarray, np.ndarray]:
        z, x = (np.asarray(self.experiment.truth[d].values, float) for d in ("z", "x"))
        return z, x
