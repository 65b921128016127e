"""Pictures of survey design: gains along a line, chosen stations and shots, errors against their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from posteriori.decide.next_observation import Ranking
from posteriori.domains.geophysics.design import Choice, Floats, WaveChoice, Zone
from posteriori.domains.geophysics.pictures import KM, draw_section
from posteriori.domains.picture import COLOURS, Colours, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Curve:
    """Expected error by the number of stations; ``low`` and ``high`` bound where single surveys lie."""

    name: str
    size: NDArray[np.int64]
    error: Floats
    low: Floats | None = None
    high: Floats | None = None


def errors_picture(curves: Sequence[Curve], what: str, label: str) -> Figure:
    """Errors against the number of stations or shots, a line for each way to place them."""
    figure, axes = blank(6.6, 4.0)
    _draw_errors(axes, curves, what, label)
    return figure


def gain_picture(choice: Choice, zone: Zone, ranking: Ranking, already: Floats | None = None) -> Figure:
    """What each station alone takes off the zone's variance, above the section with the zone and those chosen.

    ``already``: positions along the line [m] of stations that are there.
    """
    from matplotlib.figure import Figure

    z, x = (choice.law.space.labels(d).astype(float) for d in ("z", "x"))
    kilo, unit = (1000.0, "km") if np.ptp(x) > KM else (1.0, "m")
    at = choice.candidates.codomain.extra["easting"][1].astype(float) / kilo
    shown = np.concatenate([at, [zone.left / kilo, zone.right / kilo], [] if already is None else already / kilo])
    margin = 0.035 * float(np.ptp(shown))
    total = float(choice.law.covariance.under(choice.goal).trace())
    figure = Figure(figsize=(8.6, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=False, height_ratios=(2, 3))
    above.plot(at, 100 * ranking.gain.numpy() / total, ".-" if len(at) < 60 else "-", color=COLOURS[0])
    above.set(
        ylabel="variance of the goal\ntaken off [%]",
        xlim=(shown.min() - margin, shown.max() + margin),
        xlabel=f"distance [{unit}]",
    )
    above.set_title("one station alone", fontsize=10, loc="left")
    sd = choice.law.spread().numpy()
    draw_section(below, sd, z, x, Colours("density, sd before [kg/m³]"))
    _draw_zone(below, zone, kilo, 1000.0 if np.ptp(z) > KM else 1.0)
    below.set_xlim(shown.min() - margin, shown.max() + margin)
    if already is not None:
        below.plot(
            already / kilo,
            np.zeros(len(already)),
            "v",
            color="0.6",
            markersize=6,
            label="measured already",
            clip_on=False,
        )
        below.legend(fontsize=8, loc="lower right")
    chosen = at[ranking.chosen.numpy()]
    below.plot(chosen, np.zeros(len(chosen)), "v", color="black", markersize=6, clip_on=False)
    for rank, place in enumerate(chosen[:12], 1):
        below.annotate(str(rank), (place, 0), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    below.set_title(f"zone of interest and the first {len(chosen)} stations, in order\n", fontsize=10, loc="left")
    return figure


def shots_picture(choice: WaveChoice, zone: Zone, ranking: Ranking, curves: Sequence[Curve]) -> Figure:
    """The mean section with zone, receivers and shots in the order chosen, and the errors that they leave."""
    from matplotlib.figure import Figure

    space = choice.velocity.codomain
    z, x = (space.labels(d).astype(float) for d in ("z", "x"))
    figure = Figure(figsize=(8.6, 6.6), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(1, 1))
    mean = choice.velocity(choice.modes.location).numpy()
    draw_section(above, mean, z, x, Colours("velocity, mean [m/s]"))
    _draw_zone(above, zone, 1.0, 1.0)
    above.plot(choice.receivers[:, 1], choice.receivers[:, 0], "v", color="0.4", markersize=3, label="receivers")
    above.plot(choice.shots[:, 1], choice.shots[:, 0], "*", color="white", markersize=5, label="shots offered")
    chosen = choice.shots[ranking.chosen].numpy()
    above.plot(chosen[:, 1], chosen[:, 0], "*", color=COLOURS[1], markersize=10, label="shots chosen, in order")
    for rank, (depth, across) in enumerate(chosen, 1):
        above.annotate(str(rank), (across, depth), (0, 8), textcoords="offset points", ha="center", fontsize=8)
    above.legend(loc="lower left", fontsize=8)
    above.set_title(" ", fontsize=10)
    _draw_errors(below, curves, "shots", "error of the velocity in the zone [m/s]")
    return figure


def _draw_errors(axes: Axes, curves: Sequence[Curve], what: str, label: str) -> None:
    for curve, colour in zip(curves, COLOURS, strict=False):
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.size, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(curve.size, curve.error, ".-", color=colour, label=curve.name)
    axes.set(xlabel=f"number of {what}", ylabel=label)
    axes.locator_params(axis="x", integer=True)
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize=9)


def _draw_zone(axes: Axes, zone: Zone, across: float, down: float) -> None:
    """The outline of a zone; ``across`` and ``down`` [m] are the units of the axes."""
    from matplotlib.patches import Rectangle

    corner, width = (zone.left / across, zone.top / down), (zone.right - zone.left) / across
    height = (zone.bottom - zone.top) / down
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=COLOURS[1], linewidth=2))
