"""Pictures of nuclear studies: the chart of nuclides, error against distance, one isotopic chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from posteriori.core.space import Space
from posteriori.domains.nuclei.chart import MAGIC_NEUTRONS, MAGIC_PROTONS, SYMBOLS, protons_neutrons
from posteriori.domains.picture import COLOURS, Colours, Floats, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def chart_picture(cells: Space, values: ArrayLike, colours: Colours, known: Space | None = None) -> Figure:
    """The chart of nuclides, N to the right and Z upwards, a colour for each nucleus; ``known`` nuclei are outlined."""
    figure, axes = blank(8.6, 4.7)
    draw_chart(axes, cells, values, colours)
    if known is not None:
        outline(axes, known)
        axes.legend(loc="upper left")
    return figure


def draw_chart(axes: Axes, cells: Space, values: ArrayLike, colours: Colours) -> None:
    """The coloured chart with its colour bar and the magic numbers."""
    from matplotlib.colors import LogNorm, Normalize

    z, n = protons_neutrons(cells)
    shown = np.asarray(values, np.float64)
    low, high = colours.ends(shown)
    image = axes.imshow(
        grid(z, n, shown),
        cmap="RdBu_r" if colours.centred else "viridis",
        norm=LogNorm(low, high) if colours.log else Normalize(low, high),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(n.min() - 0.5, n.max() + 0.5, z.min() - 0.5, z.max() + 0.5),
    )
    axes.figure.colorbar(image, ax=axes, label=colours.label, extend=colours.extend(shown), pad=0.015, aspect=28)
    magic_lines(axes, cells)
    axes.set(xlabel="neutrons N", ylabel="protons Z", xlim=(n.min() - 3, n.max() + 3), ylim=(z.min() - 3, z.max() + 3))
    axes.grid(False)


def magic_lines(axes: Axes, cells: Space) -> None:
    """Thin lines at the magic numbers, as long as the chart is there."""
    z, n = protons_neutrons(cells)
    for magic, at, along, draw in ((MAGIC_NEUTRONS, n, z, axes.vlines), (MAGIC_PROTONS, z, n, axes.hlines)):
        for number in magic:
            if (at == number).any():
                here = along[at == number]
                draw([number], here.min() - 3, here.max() + 3, color="0.25", linewidth=0.6, linestyle=":")


def outline(axes: Axes, known: Space, label: str = "measured before") -> None:
    """The border of a set of nuclei."""
    z, n = protons_neutrons(known)
    inside = np.isfinite(grid(z, n, np.ones(len(z)), margin=1))
    rows, columns = np.arange(z.min() - 1, z.max() + 2), np.arange(n.min() - 1, n.max() + 2)
    across = np.argwhere(inside[:, 1:] != inside[:, :-1])
    upwards = np.argwhere(inside[1:] != inside[:-1])
    segments = [[(columns[j] + 0.5, rows[i] - 0.5), (columns[j] + 0.5, rows[i] + 0.5)] for i, j in across]
    segments += [[(columns[j] - 0.5, rows[i] + 0.5), (columns[j] + 0.5, rows[i] + 0.5)] for i, j in upwards]
    x, y = (np.array([[segment[0][k], segment[1][k], np.nan] for segment in segments]).ravel() for k in (0, 1))
    axes.plot(x, y, color="black", linewidth=0.7, label=label)


def grid(z: ArrayLike, n: ArrayLike, values: ArrayLike, margin: int = 0) -> Floats:
    """Values on the rectangle of all Z (rows) and N (columns) from smallest to largest; NaN where there is none."""
    rows, columns = np.asarray(z, np.int64), np.asarray(n, np.int64)
    rows, columns = rows - rows.min() + margin, columns - columns.min() + margin
    filled = np.full((rows.max() + 1 + margin, columns.max() + 1 + margin), np.nan)
    filled[rows, columns] = values
    return filled


def contours(axes: Axes, cells: Space, values: ArrayLike, levels: Sequence[float], unit: str) -> None:
    """Labelled lines of equal value over the chart."""
    z, n = protons_neutrons(cells)
    x, y = np.arange(n.min(), n.max() + 1), np.arange(z.min(), z.max() + 1)
    lines = axes.contour(x, y, grid(z, n, values), levels=levels, colors="white", linewidths=0.9)
    axes.clabel(lines, fmt=lambda level: f"{level:g} {unit}", fontsize=8)


def distance_picture(steps: ArrayLike, error: ArrayLike, sd: ArrayLike, unit: str = "keV") -> Figure:
    """Error against the number of steps from the nearest known nucleus, beside the spread that the law had stated."""
    figure, axes = blank(7.4, 4.2)
    at, off, stated = (np.asarray(values, np.float64) for values in (steps, error, sd))
    jitter = np.random.default_rng(0).uniform(-0.22, 0.22, len(at))
    axes.scatter(at + jitter, np.abs(off), s=9, color="0.6", label="each nucleus", zorder=1)
    where = np.unique(at)
    rms = [np.sqrt((off[at == k] ** 2).mean()) for k in where]
    own = [np.sqrt((stated[at == k] ** 2).mean()) for k in where]
    axes.plot(where, own, "s--", color=COLOURS[1], label="root mean square stated")
    axes.plot(where, rms, "o-", color=COLOURS[0], label="root mean square found")
    for k, value in zip(where, rms, strict=True):
        axes.annotate(
            f"n={int((at == k).sum())}", (k, value), (0, 7), textcoords="offset points", ha="center", fontsize=8
        )
    axes.set(xlabel="steps from the nearest known nucleus", ylabel=f"|error| [{unit}]", yscale="log", xticks=where)
    axes.legend(loc="lower right")
    return figure


@dataclass(frozen=True)
class Chain:
    """One chain of isotopes: a quantity with its law [keV], and values with errors known before and measured later."""

    Z: int
    N: Floats
    mean: Floats
    sd: Floats
    before: tuple[Floats, Floats, Floats]  # N, value, sigma
    later: tuple[Floats, Floats, Floats]


def chain_picture(
    chain: Chain, quantity: str, reference: Floats | None = None, earlier: str = "known before"
) -> Figure:
    """One isotopic chain with its 68 % and 95 % bands; values are shown less ``reference`` where one is given."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = blank(8.0, 4.4)
    base = np.zeros_like(chain.mean) if reference is None else reference
    at = {int(k): value for k, value in zip(chain.N, base, strict=True)}
    for width, alpha, label in ((1.96, 0.18, "95 %"), (0.994, 0.35, "68 %")):
        low, high = (chain.mean - base + sign * width * chain.sd for sign in (-1, 1))
        axes.fill_between(chain.N, low / 1e3, high / 1e3, color=COLOURS[0], alpha=alpha, linewidth=0, label=label)
    axes.plot(chain.N, (chain.mean - base) / 1e3, color=COLOURS[0], linewidth=1.2)
    for (n, value, sigma), colour, mark, label in (
        (chain.before, "0.35", "o", earlier),
        (chain.later, COLOURS[1], "D", "measured later"),
    ):
        shift = np.array([at[int(k)] for k in n])
        axes.errorbar(n, (value - shift) / 1e3, sigma / 1e3, fmt=mark, color=colour, markersize=4, label=label)
    for number in MAGIC_NEUTRONS:
        if chain.N.min() < number < chain.N.max():
            axes.axvline(number, color="0.25", linewidth=0.6, linestyle=":")
    axes.set(xlabel=f"neutrons N of {SYMBOLS[chain.Z]} (Z = {chain.Z})", ylabel=f"{quantity} [MeV]")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper center", ncols=4, fontsize=9)
    return figure
