"""Pictures of the gravity study: the anomaly and its uncertainty, held-out errors, densities in section."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import norm

from posteriori.core.gaussian import Gaussian
from posteriori.domains.geophysics.gravity_data import Survey
from posteriori.domains.geophysics.gravity_density import Density
from posteriori.domains.geophysics.gravity_held_out import HeldOut
from posteriori.domains.geophysics.pictures import draw_map, draw_section, stations_picture
from posteriori.domains.picture import Colours, calibration_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
MGAL = "Bouguer anomaly [mGal]"


def map_picture(survey: Survey, answer: Gaussian, east: Floats, north: Floats) -> Figure:
    """The anomaly at stations, on a grid, and the standard deviation of the grid."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15.0, 3.9), layout="constrained")
    axes = figure.subplots(1, 3)
    grid = (len(north), len(east))
    mean, spread = (a[len(survey.stations) :].reshape(grid).numpy() for a in (answer.center(), answer.spread()))
    ends = Colours(MGAL).ends(survey.bouguer)
    s = survey.stations
    points = axes[0].scatter(s.easting / 1e3, s.northing / 1e3, c=survey.bouguer, s=4, vmin=ends[0], vmax=ends[1])
    figure.colorbar(points, ax=axes[0], label=MGAL, extend="both", pad=0.015, aspect=22)
    axes[0].set(xlabel="easting [km]", ylabel="northing [km]", aspect="equal")
    draw_map(axes[1], mean, north, east, Colours(MGAL, *ends))
    draw_map(axes[2], spread, north, east, Colours("standard deviation [mGal]", 0.0))
    for ax, title in zip(axes, ("stations", "posterior mean", "posterior standard deviation"), strict=True):
        ax.set_title(title, fontsize=10, loc="left")
    return figure


def errors_picture(survey: Survey, held: HeldOut) -> Figure:
    """Held-out stations: error, and error in standard deviations."""
    s = survey.stations
    panels = {"predicted less observed": held.mean - held.observed, "(observed less predicted) / sd": held.z}
    colours = {
        "predicted less observed": Colours("error [mGal]", -20.0, 20.0, centred=True),
        "(observed less predicted) / sd": Colours("z", -3.0, 3.0, centred=True),
    }
    return stations_picture(panels, s.easting[held.station], s.northing[held.station], colours)


def held_out_calibration(held: HeldOut) -> Figure:
    """Share of held-out stations inside the central interval of every level."""
    return calibration_picture({"held-out stations": norm.cdf(held.z)})


def gap_picture(survey: Survey, held: HeldOut) -> Figure:
    """Stated and found error against the distance to the nearest station learnt from."""
    from matplotlib.figure import Figure

    s = survey.stations
    place = np.stack([s.easting, s.northing], 1)
    gap = np.empty(len(held.station))
    for fold in np.unique(held.fold):
        test = held.fold == fold
        known = np.setdiff1d(np.arange(len(s)), held.station[test])
        gap[test] = cKDTree(place[known]).query(place[held.station[test]])[0]
    edges = np.unique(np.quantile(gap, np.linspace(0, 1, 9)))
    which = np.clip(np.searchsorted(edges, gap, side="right") - 1, 0, len(edges) - 2)
    middle, found, stated = (
        np.array([f(which == i) for i in range(len(edges) - 1)])
        for f in (
            lambda i: np.median(gap[i]) / 1e3,
            lambda i: np.sqrt(np.mean((held.mean - held.observed)[i] ** 2)),
            lambda i: np.sqrt(np.mean(held.std[i] ** 2)),
        )
    )
    figure = Figure(figsize=(6.6, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.plot(middle, found, "o-", label="found: root mean square error")
    axes.plot(middle, stated, "s--", label="stated: root mean square sd")
    axes.set(xlabel="distance to the nearest station learnt from [km]", ylabel="[mGal]")
    axes.set_ylim(bottom=0)
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize=9)
    return figure


def section_picture(found: Density) -> Figure:
    """Data along the middle row of cells, and below them the density's mean and standard deviation."""
    from matplotlib.figure import Figure

    space = found.posterior.space
    z, y, x = (space.labels(dim) for dim in ("z", "y", "x"))
    row = len(y) // 2
    mean, spread = (a[:, row].numpy() for a in (found.posterior.center(), found.posterior.spread()))
    near = np.abs(found.northing - y[row]) <= 0.5 * float(y[1] - y[0])
    order = np.argsort(found.easting[near])
    figure = Figure(figsize=(8.8, 7.2), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    at = found.easting[near][order] / 1e3
    axes[0].plot(at, found.data[near][order], "k.", label="data, means over squares")
    axes[0].plot(at, (found.data - found.residual)[near][order], "-", color="#0072b2", label="predicted")
    axes[0].set_ylabel("residual Bouguer\nanomaly [mGal]")
    axes[0].legend(fontsize=8)
    axes[0].set_title(f"west to east, northing {y[row] / 1e3:.0f} km", fontsize=10, loc="left")
    draw_section(axes[1], mean, z, x, Colours("density contrast [kg/m³]", centred=True))
    draw_section(axes[2], spread, z, x, Colours("standard deviation [kg/m³]", 0.0))
    axes[1].set_title("posterior mean", fontsize=10, loc="left")
    axes[2].set_title("posterior standard deviation", fontsize=10, loc="left")
    axes[1].set_xlabel("")
    return figure
