"""Pictures of a line that was measured: sections of the single and the joint inversion, fits of both data, the link."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from posteriori.domains.geophysics.joint_line_fit import Fit
from posteriori.domains.geophysics.pictures import KM, draw_section
from posteriori.domains.picture import COLOURS, Colours, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def line_picture(found: Fit) -> Figure:
    """Velocity [m/s] and density [kg/m³] less the mean model, single above joint; below, their s.d."""
    from matplotlib.figure import Figure

    line = found.line
    z, x = (np.asarray(line.grid.labels(dim), np.float64) for dim in ("z", "x"))
    figure = Figure(figsize=(11.0, 8.0), layout="constrained")
    grid = figure.subplots(4, 2, sharex=True, sharey=True)
    answers = {"joint": found.joint, "alone": found.apart}
    ways = {name: (line.space.split(a.center()), line.space.split(a.spread())) for name, a in answers.items()}
    for column, (name, unit, alone) in enumerate(
        (("velocity", "m/s", "picks alone"), ("density", "kg/m³", "gravity alone"))
    ):
        away = {way: (mean[name] - line.means[column]).numpy() for way, (mean, _) in ways.items()}
        width = {way: sd[name].numpy() for way, (_, sd) in ways.items()}
        top, widest = (float(np.quantile(np.abs(np.stack([*v.values()])), 0.99)) for v in (away, width))
        for k, (way, title) in enumerate((("alone", alone), ("joint", "joint"))):
            draw_section(grid[k, column], away[way], z, x, Colours(f"Δ {name} [{unit}]", -top, top, centred=True))
            grid[k, column].set_title(f"{title}: {name}, mean less that of the mean model", fontsize=9, loc="left")
            draw_section(grid[k + 2, column], width[way], z, x, Colours(f"s.d. [{unit}]", 0.0, widest))
            grid[k + 2, column].set_title(f"{title}: {name}, standard deviation", fontsize=9, loc="left")
    across, down = (1000.0 if np.ptp(a) > KM else 1.0 for a in (x, z))
    for axes, points in ((grid[0, 0], line.picks.sources), (grid[0, 1], None)):
        at = line.stations.x if points is None else points[:, 1]
        depth = np.full(len(at), z[0]) if points is None else points[:, 0]
        label = "station" if points is None else "shot"
        axes.plot(
            at / across,
            depth / down,
            "v",
            color="black",
            markersize=4,
            linestyle="none",
            label=label,
            zorder=3,
            clip_on=False,
        )
        axes.legend(loc="lower right", fontsize=8)
    # axes are shared, and each section has turned them once
    if not grid[0, 0].yaxis_inverted():
        grid[0, 0].invert_yaxis()
    for axes in grid.flat:
        axes.label_outer()
    return figure


def anomaly_picture(found: Fit) -> Figure:
    """Measured and predicted anomaly [mGal] along the line, the trend, and the residuals over their errors below."""
    from matplotlib.figure import Figure

    line = found.line
    order = np.argsort(line.stations.x)
    x = line.stations.x[order] / (1000.0 if np.ptp(line.stations.x) > KM else 1.0)
    anomaly, sigma = (line.stations.columns[name][order] for name in ("anomaly", "sigma"))
    figure = Figure(figsize=(8.4, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    above.errorbar(x, anomaly, sigma, fmt="o", color="black", markersize=3, linewidth=0.8, label="measured")
    for colour, (name, answer) in zip(
        COLOURS, {"joint": found.joint, "gravity alone": found.apart}.items(), strict=False
    ):
        density = line.space.split(answer.center())["density"]
        predicted, trend = (a.numpy()[order] for a in line.anomalies(density, found.stations))
        above.plot(x, predicted, color=colour, label=name)
        above.plot(x, trend, color=colour, linewidth=0.8, linestyle="--", label=f"trend, {name}")
        below.plot(x, (predicted - anomaly) / sigma, ".-", color=colour, linewidth=0.8, label=name)
    below.axhspan(-2, 2, color="0.93")
    above.set(ylabel="anomaly [mGal]")
    unit = "km" if np.ptp(line.stations.x) > KM else "m"
    below.set(xlabel=f"distance [{unit}]", ylabel="predicted less measured\n[standard deviations]")
    above.legend(fontsize=8)
    return figure


def link_picture(found: Fit) -> Figure:
    """How probable each strength of the link is after the data; all were equally likely before."""
    figure, axes = blank(6.0, 3.4)
    names = ["none" if r == 0 else f"{r:g}" for r in found.strengths]
    axes.bar(names, found.weights.numpy(), color=COLOURS[0])
    axes.axhline(1 / len(names), color="0.4", linewidth=0.8, linestyle="--", label="before the data")
    axes.set(xlabel="correlation of velocity and density in a cell", ylabel="probability", ylim=(0, None))
    axes.legend(fontsize=9)
    return figure


def residuals(found: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Predicted less picked times of the joint mean and their errors, (source, receiver) [s]."""
    picks = found.line.picks
    times = found.predicted(found.joint)[0].reshape(torch.Size(picks.time.shape)).numpy()
    return times - picks.time, picks.sigma
