"""Gravity at stations: the anomaly everywhere, how well unseen blocks are predicted, and the densities below."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core import memory
from posteriori.core.errors import OptionError
from posteriori.core.run import Context, references
from posteriori.domains.geophysics import gravity_pictures, ubc
from posteriori.domains.geophysics.gravity_data import Survey, survey
from posteriori.domains.geophysics.gravity_density import Density, density
from posteriori.domains.geophysics.gravity_held_out import hold_out
from posteriori.domains.geophysics.gravity_law import Fitted, fit, places, spacing
from posteriori.domains.geophysics.reductions import CRUST
from posteriori.domains.geophysics.stations import within_degrees
from posteriori.domains.geophysics.vtk import write_vtr
from posteriori.domains.study import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

DENSE = 4
"""Matrices, data × cells, that the density model holds at once."""
GRID = 60
"""Cells of the map along its longer side."""


@dataclass(frozen=True)
class Study:
    """Bouguer anomaly from gravity stations, with its uncertainty, held against stations in blocks of its own.

    Stations are reduced by normal gravity at their height and a plate. What is left is a trend, layers of random
    sources at three learnt depths (harmonic covariances), a plate of learnt density and station errors with heavy
    tails, everything learnt by the evidence. Whole blocks are held out in turn; all numbers, and the one factor that
    makes intervals honest, come from the other blocks. Below lies a smooth density model with its uncertainty.
    """

    data: Path | None = None
    """CSV of stations: longitude, latitude or easting, northing [m]; height [m]; gravity, disturbance or bouguer."""
    window: str | None = None
    """west/east/south/north [degrees], to cut the table."""
    reduction: float = CRUST
    """Density [kg/m³] of the plate that is taken off."""
    block: float = 30.0
    """Side [km] of the blocks that are held out."""
    folds: int = 5
    """Parts that the blocks are dealt into."""
    held: int | None = None
    """How many of these parts are predicted; none means all."""
    cell: float = 20.0
    """Side [km] of the cells of the density model; 0 leaves the model out."""
    depth: float = 40.0
    """Of the bottom of the density model [km]."""
    layers: int = 7
    """Of the density model."""
    quick: bool = False
    """One part of the blocks held out and no density model."""

    def __call__(self, context: Context) -> Outcome:
        """Reduce, hold out, predict, invert."""
        held = 1 if self.quick else self.folds if self.held is None else self.held
        if self.block <= 0 or not 1 <= held <= self.folds or self.reduction <= 0 or self.cell < 0:
            raise OptionError(
                f"block={self.block:g} km, folds={self.folds}, held={held}, reduction={self.reduction:g} kg/m³, "
                f"cell={self.cell:g} km; give positive sizes and 1 to {self.folds} folds to hold out."
            )
        if self.cell > 0 and not self.quick and not (self.depth > 0 and 2 <= self.layers <= 100):
            raise OptionError(
                f"depth={self.depth:g} km, layers={self.layers}; give a positive depth and 2 to 100 layers."
            )
        window = None if self.window is None else within_degrees(self.window)
        stations = survey(self.data, window, self.reduction)
        if self.cell > 0 and not self.quick:
            require_memory(stations, 1e3 * self.cell, self.layers)
        found = hold_out(stations, 1e3 * self.block, self.folds, held, context)
        east, north = _grid(stations)
        points = places(stations, east, north, float(np.median(stations.stations.height)))
        everything = np.arange(len(stations.stations))
        fitted = fit(stations, everything, points, 1e3 * self.block, context.child("all"))
        pictures: dict[str, Callable[[], Picture]] = {
            "Bouguer anomaly at stations and everywhere": partial(
                gravity_pictures.map_picture, stations, fitted.answer, east, north
            ),
            "Held-out stations": partial(gravity_pictures.errors_picture, stations, found),
            "Calibration on held-out stations": partial(gravity_pictures.held_out_calibration, found),
            "Error against distance": partial(gravity_pictures.gap_picture, stations, found),
        }
        figures = [*found.figures()]
        numbers = fitted.numbers
        files: dict[str, Callable[[Path], None]] = {}
        if self.cell > 0 and not self.quick:
            below = density(stations, 1e3 * self.cell, 1e3 * self.depth, self.layers, fitted.sigma, context.child("3d"))
            pictures["Densities below"] = partial(gravity_pictures.section_picture, below)
            files = written(below)
            misfit = float(np.sqrt(np.mean(below.residual**2)))
            figures.append(Figure("density_misfit", misfit, unit="mGal", note="means over squares of the mesh"))
        default = self == Study()
        report = Report(f"Held-out gravity stations, blocks of {self.block:g} km", tuple(figures)).gated(
            {"coverage90": Gate(0.87, 0.93)} if default else {}
        )
        return Outcome(
            scores={figure.name: figure.value for figure in figures}
            | found.scores()
            | {
                "stations": len(stations.stations),
                "held_out": len(found.station),
                "repeated_rows": stations.stations.repeated,
                "spacing_km": spacing(stations, everything) / 1e3,
                "learnt": numbers,
            },
            report=report,
            pictures=pictures,
            tables={"held_out": found.table(stations), "map": _map(stations, fitted, east, north)},
            files=files,
            data=stations.hashes,
            references=[*stations.references, *references(fitted.target)],
        )


def require_memory(stations: Survey, cell: float, layers: int) -> None:
    """Refuse a density model on squares of ``cell`` [m] whose matrices would not fit, before anything is fitted."""
    s = stations.stations
    squares = float((np.ptp(s.easting) / cell + 3) * (np.ptp(s.northing) / cell + 3))
    need = 8.0 * DENSE * min(len(s), squares) * squares * layers
    memory.require(need, f"a density model of {squares * layers:.3g} cells", "give a larger cell=, or 0 for none")


def written(below: Density) -> dict[str, Callable[[Path], None]]:
    """The density model for other programs: VTK, and UBC-GIF's mesh and contrasts in its own g/cm³."""
    space, mean, spread = below.posterior.space, below.posterior.center(), below.posterior.spread()
    grams = replace(space, unit="g/cm^3")
    return {
        "density.vtr": lambda path: write_vtr(path, space, {"mean": mean, "standard deviation": spread}),
        "mesh.msh": lambda path: ubc.write_mesh(path, grams),
        "density.den": lambda path: ubc.write_model(path, grams, 1e-3 * mean),
    }


def _map(stations: Survey, fitted: Fitted, east: np.ndarray, north: np.ndarray) -> pd.DataFrame:
    """The anomaly on the map's grid, at the median height of the stations."""
    many = len(stations.stations)
    rows, columns = (a.ravel() for a in np.meshgrid(north, east, indexing="ij"))
    return pd.DataFrame(
        {
            "easting [m]": columns.round(1),
            "northing [m]": rows.round(1),
            "bouguer [mGal]": fitted.answer.center()[many:].numpy().round(3),
            "sd [mGal]": fitted.answer.spread()[many:].numpy().round(3),
        }
    )


def _grid(stations: Survey) -> tuple[np.ndarray, np.ndarray]:
    """Easting and northing [m] of a map over all stations."""
    s = stations.stations
    cell = max(np.ptp(s.easting), np.ptp(s.northing)) / GRID
    return tuple(np.arange(a.min(), a.max() + 0.5 * cell, cell) for a in (s.easting, s.northing))  # type: ignore[return-value]
