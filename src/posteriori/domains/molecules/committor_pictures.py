"""Pictures of a committor: maps beside the truth, transition states on the energy, bands, flux through level sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor

from posteriori.core.target import Boltzmann
from posteriori.domains.molecules.backward_kolmogorov import Solved
from posteriori.domains.molecules.kinetics import LEVELS, Reaction
from posteriori.domains.molecules.reactive_flux import Flux
from posteriori.domains.picture import COLOURS, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
ISOLINES = (0.1, 0.3, 0.5, 0.7, 0.9)
SHOWN_DENSITY = 1e-7
"""Cells of less density, as a share of the largest, are left white."""


def maps_picture(q: Floats, truth: Solved, every: int, reaction: Reaction) -> Figure:
    """The learnt committor, the finite-difference one, and their difference, each with isolines of q."""
    from matplotlib.figure import Figure as Sheet

    figure = Sheet(figsize=(11.0, 3.9), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    x, y = truth.x[::every], truth.y[::every]
    exact, pi = truth.q[::every, ::every], truth.pi[::every, ::every]
    seen = pi > SHOWN_DENSITY * pi.max()
    for axes, values, title in zip(panels[:2], (q, exact), ("network", "finite differences"), strict=True):
        drawn = axes.pcolormesh(x, y, np.where(seen, values, np.nan).T, cmap="viridis", vmin=0, vmax=1)
        axes.contour(x, y, np.where(seen, values, np.nan).T, levels=ISOLINES, colors="w", linewidths=0.8)
        axes.set_title(title, fontsize=10)
    figure.colorbar(drawn, ax=panels[:2], label="committor q")
    gap = np.where(seen, q - exact, np.nan)
    top = float(np.nanquantile(np.abs(gap), 0.98))
    drawn = panels[2].pcolormesh(x, y, gap.T, cmap="RdBu_r", vmin=-top, vmax=top)
    panels[2].set_title("network - finite differences", fontsize=10)
    figure.colorbar(drawn, ax=panels[2], label="difference of q", extend="both")
    for axes in panels:
        _discs(axes, reaction)
        axes.set(xlabel="x", aspect="equal")
    panels[0].set_ylabel("y")
    return figure


def transition_picture(states: Tensor, target: Boltzmann, truth: Solved, every: int, reaction: Reaction) -> Figure:
    """Transition states over contours of the energy [kT], with the line q = 1/2 of the finite differences."""
    figure, axes = blank(5.8, 4.9)
    x, y = truth.x[::every], truth.y[::every]
    pi = truth.pi[::every, ::every]
    energy = -np.log(np.maximum(pi, 1e-300) / pi.max())
    drawn = axes.contourf(x, y, np.minimum(energy, 20.0).T, levels=np.arange(0, 21, 1.0), cmap="Greys_r", alpha=0.8)
    figure.colorbar(drawn, ax=axes, label="energy above the lowest [kT]")
    axes.contour(x, y, truth.q[::every, ::every].T, levels=[0.5], colors=COLOURS[2], linewidths=1.2)
    axes.plot(
        states[:, 0], states[:, 1], ".", color=COLOURS[1], markersize=3, label="transition states, |q - 1/2| < 0.05"
    )
    axes.plot([], [], color=COLOURS[2], label="q = 1/2, finite differences")
    _discs(axes, reaction)
    axes.set(xlabel="x", ylabel="y", aspect="equal")
    figure.legend(loc="outside upper center", ncols=2, fontsize=8)
    return figure


def bands_picture(z: Tensor) -> Figure:
    """Distance of the truth from the members' mean in their standard deviations, beside the normal law."""
    figure, axes = blank(5.4, 3.6)
    grid = np.linspace(-4, 4, 200)
    axes.hist(z.clamp(-4, 4).numpy(), bins=40, density=True, color=COLOURS[4], label="cells of the transition region")
    axes.plot(grid, norm.pdf(grid), color="k", label="calibrated")
    axes.set(xlabel="(truth - mean) / spread of the members", ylabel="density")
    figure.legend(loc="outside upper center", ncols=2, fontsize=9)
    return figure


def levels_picture(flux: Flux, exact: float) -> Figure:
    """Reactive flux through slices of q: equal for the true committor."""
    figure, axes = blank(5.4, 3.6)
    middle = (np.arange(LEVELS) + 0.5) / LEVELS
    axes.errorbar(
        middle,
        flux.by_level / exact,
        flux.by_level_error / exact,
        fmt="o",
        color=COLOURS[0],
        capsize=2,
        label="network",
    )
    axes.axhline(1.0, color="k", linewidth=0.8, label="finite differences")
    axes.set(xlabel="committor q", ylabel="flux through the slice / exact flux", xlim=(0, 1))
    axes.legend(fontsize=9)
    return figure


def _discs(axes: Axes, reaction: Reaction) -> None:
    from matplotlib.patches import Circle

    for name, centre in (("A", reaction.a), ("B", reaction.b)):
        axes.add_patch(Circle(centre, reaction.radius, facecolor="none", edgecolor=COLOURS[1], linewidth=1.4))
        axes.annotate(name, centre, ha="center", va="center", color=COLOURS[1], fontsize=9)
