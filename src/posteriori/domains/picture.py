"""Pictures that every science draws: blank sheets, colours, calibration, reliability, coverage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posteriori.audit.reliability import ReliabilityCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # Okabe & Ito: safe for the colour-blind
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Colours:
    """How values become colours.

    Attributes:
        label: of the colour bar, unit included.
        low, high: ends of the scale; None for the 2 % and 98 % points of the values.
        centred: a diverging scale with its middle at zero.
        log: a logarithmic scale.
    """

    label: str
    low: float | None = None
    high: float | None = None
    centred: bool = False
    log: bool = False

    def ends(self, values: Floats) -> tuple[float, float]:
        """Lower and upper end for these values."""
        known = values[np.isfinite(values)]
        low, high = np.quantile(known, [0.02, 0.98]) if len(known) else (0.0, 1.0)
        low, high = self.low if self.low is not None else low, self.high if self.high is not None else high
        if self.centred:
            high = max(abs(low), abs(high))
            low = -high
        return (float(low), float(high)) if high > low else (float(low), float(low) + 1.0)

    def extend(self, values: Floats) -> str:
        """Which ends of the colour bar are pointed, since values lie beyond them."""
        known, (low, high) = values[np.isfinite(values)], self.ends(values)
        below, above = bool((known < low).any()), bool((known > high).any())
        return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[
            below, above
        ]


def blank(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty picture [inches], its parts laid out so that nothing overlaps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def calibration_picture(pits: Mapping[str, ArrayLike]) -> Figure:
    """Share of the later values inside the central interval of every level, one line for each named law.

    ``pits``: for each law the probability that it put below each later value.
    """
    figure, axes = blank(5.4, 4.6)
    levels = np.linspace(0, 1, 101)
    fewest = min(len(np.asarray(pit)) for pit in pits.values())
    spread = 2 * np.sqrt(levels * (1 - levels) / fewest)
    axes.fill_between(
        levels, levels - spread, levels + spread, color="0.9", label=f"perfect law, n = {fewest}, ±2 s.e."
    )
    axes.plot(levels, levels, color="0.5", linewidth=0.8)
    for (name, pit), colour in zip(pits.items(), COLOURS * len(pits), strict=False):
        inside = np.abs(2 * np.asarray(pit) - 1)
        axes.plot(levels, [(inside <= level).mean() for level in levels], color=colour, label=name)
    axes.set(xlabel="level of the credible interval", ylabel="share of later values inside", xlim=(0, 1), ylim=(0, 1))
    axes.set_aspect("equal")
    axes.legend(loc="upper left", fontsize=9)
    return figure


def reliability_picture(curve: ReliabilityCurve, event: str) -> Figure:
    """Observed frequency against stated probability, with the number of cases of each bin."""
    figure, axes = blank(5.4, 4.6)
    stated, observed, error = curve.stated.numpy(), curve.observed.numpy(), curve.standard_error.numpy()
    axes.plot([0, 1], [0, 1], color="0.5", linewidth=0.8, label="perfectly stated")
    axes.errorbar(
        stated, observed, error, fmt="o", color=COLOURS[0], capsize=2, label="found (bars: one standard error)"
    )
    for x, y, cases in zip(stated, observed, curve.cases.tolist(), strict=True):
        inwards = -8 if x > 0.5 else 8
        axes.annotate(
            f"{cases:g}",
            (x, y),
            (inwards, 0),
            textcoords="offset points",
            va="center",
            ha="right" if x > 0.5 else "left",
        )
    axes.set(
        xlabel=f"stated probability that {event}", ylabel="observed frequency", xlim=(-0.05, 1.05), ylim=(-0.1, 1.1)
    )
    figure.legend(loc="outside upper center", ncols=2, fontsize=9)
    return figure


def levels_picture(shares: Mapping[str, Mapping[str, tuple[float, float]]], level: float) -> Figure:
    """Coverage of several quantities under several laws, each (value, standard error), beside its ``level``."""
    figure, axes = blank(7.4, 3.9)
    names = list(next(iter(shares.values())))
    for i, (law, found) in enumerate(shares.items()):
        x = np.array([names.index(name) for name in found]) + 0.16 * (i - (len(shares) - 1) / 2)
        value, error = np.array(list(found.values())).T
        axes.errorbar(x, 100 * value, 100 * error, fmt="os^D"[i % 4], color=COLOURS[i], capsize=2, label=law)
    axes.axhline(100 * level, color="0.4", linewidth=0.9)
    axes.set(xticks=range(len(names)), xticklabels=names, ylabel=f"coverage of the {100 * level:.0f} % interval [%]")
    figure.legend(loc="outside upper center", ncols=len(shares), fontsize=9)
    return figure
