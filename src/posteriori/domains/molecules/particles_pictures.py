"""Pictures of clusters: distances and energies, forgetting, the virial as it settles, samplers compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from posteriori.domains.molecules.particles import NAMES, SLOW, Measured
from posteriori.domains.picture import COLOURS, blank
from posteriori.inference.pilot import Choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
RARE = 1e-5
"""Share of pair distances below which a bin is not shown."""
FORGOTTEN = 0.05
LABELS = {
    "energy": "energy U",
    "radius": "radius of gyration",
    "pair_labelled": "distance of particles 0 and 1",
    "pair_pooled": "mean pair distance",
}


def distances_picture(histograms: Mapping[str, Floats], width: float) -> Figure:
    """Density of pair distances by each source of rows: counts in bins of ``width``."""
    figure, axes = blank(6.4, 3.8)
    middle = (np.arange(len(next(iter(histograms.values())))) + 0.5) * width
    for i, (name, counts) in enumerate(histograms.items()):
        colour, wide = ("0.75", 4.0) if i == 0 else (COLOURS[i - 1], 1.2)
        axes.plot(middle, counts / counts.sum() / width, label=name, color=colour, linewidth=wide)
    last = max(int(np.flatnonzero(counts > RARE * counts.sum())[-1]) for counts in histograms.values())
    axes.set(xlabel="pair distance", ylabel="density", xlim=(0, middle[last]), ylim=(0, None))
    axes.legend(fontsize=9)
    return figure


def energies_picture(energies: Mapping[str, Floats]) -> Figure:
    """Density of energies by each source of rows."""
    figure, axes = blank(6.4, 3.8)
    first = next(iter(energies.values()))
    low, high = np.quantile(first, [0.0005, 0.9995])
    edges = np.linspace(low, high, 61)
    for i, (name, values) in enumerate(energies.items()):
        density, _ = np.histogram(values, edges)
        colour, wide = ("0.75", 4.0) if i == 0 else (COLOURS[i - 1], 1.2)
        axes.stairs(density / len(values) / np.diff(edges), edges, label=name, color=colour, linewidth=wide)
    axes.set(xlabel="energy U [kT at temperature 1]", ylabel="density [1/kT]", ylim=(0, None))
    axes.legend(fontsize=9)
    return figure


def forgetting_picture(correlations: Floats, spacing: str) -> Figure:
    """Autocorrelation of each figure (lag, figure) over ``spacing``."""
    figure, axes = blank(6.4, 3.8)
    for i, name in enumerate(SLOW):
        axes.plot(correlations[:, i], color=COLOURS[i], label=LABELS[name])
    axes.axhline(0.0, color="0.5", linewidth=0.8)
    forgotten = int(np.argmax((np.abs(correlations) < FORGOTTEN).all(1))) or len(correlations)
    last = min(len(correlations) - 1, 3 * forgotten)
    axes.set(xlabel=spacing, ylabel="autocorrelation", xlim=(0, last), ylim=(-0.05, 1.02))
    axes.legend(fontsize=9)
    return figure


def virial_picture(measured: Measured, beta: float, degrees: int) -> Figure:
    """Running mean of beta Σ x · ∇U with two standard errors, beside the exact number."""
    figure, axes = blank(6.4, 3.8)
    x = beta * measured.series[..., NAMES.index("virial")].double().mean(1).numpy()
    count = np.arange(1, len(x) + 1)
    mean = x.cumsum() / count
    error = beta * measured.mean("virial")[1] * np.sqrt(len(x) / count)
    share = count / len(x)
    axes.fill_between(share, mean - 2 * error, mean + 2 * error, color=COLOURS[0], alpha=0.25, label="±2 s.e.")
    axes.plot(share, mean, color=COLOURS[0], label="mean so far")
    axes.axhline(degrees, color="0.3", linewidth=1.0, linestyle="--", label=f"exact: {degrees}")
    axes.set(xlabel="share of the run", ylabel="virial β Σ x·∇U", xlim=(0, 1))
    axes.set_ylim(degrees - 30 * error[-1], degrees + 30 * error[-1])
    axes.legend(fontsize=9)
    return figure


def samplers_picture(choice: Choice) -> Figure:
    """CPU time to any number of effective samples by each candidate, training counted."""
    figure, axes = blank(6.4, 3.8)
    wanted = np.geomspace(1e2, 1e8, 61)
    for trial, colour in zip(choice.trials, COLOURS, strict=False):
        if trial.rate > 0:
            label = f"{trial.name}: {trial.rate:,.0f} a second after {trial.fixed_seconds:.2g} s"
            axes.plot(wanted, [trial.seconds(n) for n in wanted], color=colour, label=label)
        else:
            axes.plot([], [], color=colour, linestyle=":", label=f"{trial.name}: not trusted ({trial.why})")
    axes.axvline(choice.effective, color="0.5", linewidth=0.8, linestyle="--", label="wanted here")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="effective samples of the slowest figure",
        ylabel="CPU time [s]",
        xlim=(1e2, 1e8),
    )
    axes.legend(fontsize=9)
    return figure
