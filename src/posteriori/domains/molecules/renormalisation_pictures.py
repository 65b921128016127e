"""Pictures of renormalisation: learnt filters, Binder crossing, flow of couplings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from posteriori.domains.molecules.finite_size import CHAINS, Binder, Scaling, Series
from posteriori.domains.molecules.renormalisation import Flow
from posteriori.domains.picture import COLOURS, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WINDOW = 0.006


def filters_picture(filters: Mapping[str, NDArray[np.float64]]) -> Figure:
    """Filter weights, each scaled to a mean of one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.9 * len(filters), 3.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(filters)))
    scaled = {title: weights / weights.mean() for title, weights in filters.items()}
    top = max(float(weights.max()) for weights in scaled.values())
    images = []
    for axes, (title, weights) in zip(panels, scaled.items(), strict=True):
        images.append(axes.imshow(weights, cmap="viridis", vmin=0, vmax=top))
        for (r, c), value in np.ndenumerate(weights):
            axes.text(
                c, r, f"{value:.2f}", ha="center", va="center", color="w" if value < 0.6 * top else "k", fontsize=8
            )
        axes.grid(visible=False)
        axes.set(title=title, xticks=[], yticks=[])
    figure.colorbar(images[0], ax=list(panels), label="weight / mean weight", shrink=0.8)
    return figure


def binder_picture(series: Sequence[Series], name: str, found: Scaling) -> Figure:
    """Binder cumulants of the learnt coarse spins against temperature, and where the two largest sizes cross."""
    figure, axes = blank(6.4, 4.4)
    middle = series[-1].coupling
    grid = middle + np.linspace(-WINDOW, WINDOW, 25)
    chains = range(CHAINS)
    for one, colour in zip(sorted(series, key=lambda one: one.size), COLOURS * 2, strict=False):
        curve = Binder.of(one, name, grid)
        value = curve.values(chains)[0]
        without = np.array([curve.values([c for c in chains if c != out])[0] for out in chains])
        error = np.sqrt((CHAINS - 1) * without.var(0))
        axes.plot(1 / grid, value, color=colour, label=f"L = {one.size}")
        axes.fill_between(1 / grid, value - 2 * error, value + 2 * error, color=colour, alpha=0.25, linewidth=0)
    t, error = found.temperature.value, found.temperature.error
    axes.axvspan(t - 2 * error, t + 2 * error, color="0.85", label=f"crossing {t:.4f} ± {2 * error:.4f} J/k (2 s.e.)")
    axes.set(xlabel="temperature [J/k]", ylabel="Binder cumulant of the coarse magnetisation")
    axes.legend(fontsize=8)
    return figure


def flow_picture(flows: Sequence[Flow], critical: float) -> Figure:
    """Couplings to nearest and second neighbours under repeated coarse-graining, one path a temperature."""
    figure, axes = blank(6.4, 4.6)
    for one, colour in zip(flows, COLOURS * 3, strict=False):
        k = one.couplings
        label = f"T = {one.temperature:.3f} J/k ({one.temperature / critical:.2f} of the crossing)"
        axes.plot(k[:, 0], k[:, 1], "o-", color=colour, markersize=4, linewidth=0.8, label=label)
        for a, b in pairwise(k):
            axes.annotate("", b, a, arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 1.4})
    axes.set(xlabel="coupling to nearest neighbours", ylabel="coupling to second neighbours")
    axes.legend(fontsize=7)
    return figure
