"""Pictures of the magnetics study: a section through the model, and the anomaly reduced to the pole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from posteriori.core.gaussian import Gaussian
from posteriori.domains.geophysics.magnetic_survey import Survey
from posteriori.domains.geophysics.pictures import Marks, draw_map, sections_picture
from posteriori.domains.picture import Colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def section_picture(posterior: Gaussian, row: int, survey: Survey) -> Figure:
    """Truth where it is known, mean and standard deviation along one row of cells, west to east."""
    space = posterior.space
    mean, spread = posterior.center()[:, row], posterior.spread()[:, row]
    shown = {"posterior mean": mean, "posterior standard deviation": spread}
    if survey.truth is not None:
        shown = {"truth": survey.truth(space)[:, row], **shown}
    top = float(max(values.abs().max() for values in shown.values()))
    model = Colours("susceptibility [SI]", -top, top, centred=True)
    colours = {name: Colours("susceptibility [SI]", 0.0) if "deviation" in name else model for name in shown}
    northing = space.labels("y")[row]
    titled = {f"{name}, northing {northing:.0f} m": values.numpy() for name, values in shown.items()}
    return sections_picture(
        titled, space.labels("z"), space.labels("x"), dict(zip(titled, colours.values(), strict=True))
    )


def map_pictures(pole: Gaussian, survey: Survey) -> Figure:
    """Mean and standard deviation of a field on a grid, side by side, with the stations."""
    from matplotlib.figure import Figure

    space = pole.space
    figure = Figure(figsize=(10.6, 4.6), layout="constrained")
    axes = figure.subplots(1, 2)
    stations = Marks(survey.easting, survey.northing, "station", ".", "orangered")
    y, x = space.labels("y"), space.labels("x")
    mean, spread = pole.center().numpy(), pole.spread().numpy()
    draw_map(axes[0], mean, y, x, Colours("anomaly at the pole [nT]", centred=True))
    draw_map(axes[1], spread, y, x, Colours("standard deviation [nT]", 0.0, float(np.max(spread))), [stations])
    axes[0].set_title("posterior mean", fontsize=10, loc="left")
    axes[1].set_title("posterior standard deviation", fontsize=10, loc="left")
    return figure
