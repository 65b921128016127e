"""Pictures of constrained sampling: marginals against exact laws, a water cluster two ways, bad ways measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from posteriori.domains.molecules.constraints import Case
from posteriori.domains.molecules.constraints_bad import Bad
from posteriori.domains.molecules.constraints_checks import Marginal, Water
from posteriori.domains.picture import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {
    "energy": "energy [kJ/mol]",
    "trap": "Σ |O|² [nm²]",
    "distance": "mean O-O distance [nm]",
    "alignment": "mean cosine between dipoles",
}


def marginals_picture(cases: Mapping[str, Case], found: Mapping[str, Marginal]) -> Figure:
    """Histogram of each sampled coordinate with its exact density."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    for axes, (name, case) in zip(figure.subplots(2, 3).flat, cases.items(), strict=True):
        edges = np.linspace(*case.ends, 61)
        axes.hist(found[name].values, edges, density=True, color=COLOURS[4], alpha=0.6, label="sampled")
        density = np.diff(case.below(edges)) / np.diff(edges)
        axes.plot((edges[1:] + edges[:-1]) / 2, density, color=COLOURS[1], label="exact")
        axes.set(xlabel=case.coordinate, ylabel="density", xlim=case.ends, ylim=(0, 1.35 * density.max()))
        axes.set_title(f"{case.title}: p = {found[name].p_value:.2f}", fontsize=10)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def water_picture(ways: Mapping[str, Water]) -> Figure:
    """Histograms of the quantities of a water cluster, one line for each way to sample it."""
    from matplotlib.figure import Figure

    names = list(next(iter(ways.values())).values)
    figure = Figure(figsize=(4.2 * min(len(names), 2), 3.0 * ((len(names) + 1) // 2)), layout="constrained")
    grid = figure.subplots((len(names) + 1) // 2, min(len(names), 2), squeeze=False)
    for axes, name in zip(grid.flat, names, strict=True):
        every = np.concatenate([water.values[name].flatten().numpy() for water in ways.values()])
        low, high = (float(np.quantile(every, share)) for share in (0.001, 0.999))
        edges = np.linspace(low, high, 51)
        for (way, water), colour in zip(ways.items(), COLOURS, strict=False):
            _steps(axes, water.values[name], edges, colour, way)
        axes.set(xlabel=LABELS[name], ylabel="density")
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def bad_picture(soft: Sequence[Bad], rejected: Sequence[Bad], case: Case) -> Figure:
    """What springs and rejection cost, and which law they follow instead of rigid motion's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    edges = np.linspace(*case.ends, 41)
    middle = (edges[1:] + edges[:-1]) / 2
    left.plot(middle, np.diff(case.below(edges)) / np.diff(edges), color="0.2", label="rigid motion, exact")
    for bad, colour in zip(soft[:3], COLOURS, strict=False):
        heights = np.histogram(bad.values, edges, density=True)[0]
        left.step(middle, heights, where="mid", color=colour, label=f"spring, k = {bad.strength:g} kT")
    left.set(xlabel=case.coordinate, ylabel="density", xlim=case.ends, ylim=(0, None))
    left.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    for bads, colour, marker, label in (
        (soft, COLOURS[0], "o", "springs: gradients / effective sample"),
        (rejected, COLOURS[1], "s", "rejection: draws / accepted one"),
    ):
        right.loglog([b.residual for b in bads], [b.cost for b in bads], marker=marker, color=colour, label=label)
    right.set(xlabel="root mean square of the constraint", ylabel="cost")
    right.invert_xaxis()
    right.legend(fontsize=8, loc="lower right")
    return figure


def _steps(axes: Axes, values: Tensor, edges: np.ndarray, colour: str, label: str) -> None:
    heights = np.histogram(values.flatten().numpy(), edges, density=True)[0]
    axes.step((edges[1:] + edges[:-1]) / 2, heights, where="mid", color=colour, label=label)
