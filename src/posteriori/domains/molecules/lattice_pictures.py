"""Pictures of lattices: configurations, energy and heat capacity against the exact curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from posteriori.domains.molecules.lattice import Measured
from posteriori.domains.picture import COLOURS
from posteriori.physics.ising_exact import CRITICAL, Thermodynamics, torus
from posteriori.physics.ising_kernels import Spins

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def configurations_picture(shown: Sequence[tuple[float, Spins]]) -> Figure:
    """Spins at several temperatures, up dark."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(shown), 3.6), layout="constrained")
    for axes, (temperature, spins) in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True):
        axes.imshow(spins, cmap="Greys", vmin=-1, vmax=1, interpolation="nearest")
        axes.grid(visible=False)
        axes.set(title=f"T = {temperature:.3f} J/k ({temperature * CRITICAL:.2f} Tc)", xlabel="column", ylabel="row")
    return figure


def curve_picture(size: int, found: Sequence[tuple[float, Measured, Thermodynamics]]) -> Figure:
    """Energy and heat capacity per site against temperature, beside Kaufman's finite torus."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    at = np.array([temperature for temperature, _, _ in found])
    fine = np.linspace(at.min(), at.max(), 200)
    exact = [torus(size, size, 1 / t) for t in fine]
    panels = {
        "energy per site [J]": ([e.energy for e in exact], [m.energy for _, m, _ in found]),
        "heat capacity per site [k]": ([e.heat_capacity for e in exact], [m.heat_capacity for _, m, _ in found]),
    }
    for axes, (label, (line, points)) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        axes.plot(fine, line, color=COLOURS[0], label=f"Kaufman, {size} × {size}")
        values, errors = [p.value for p in points], [2 * p.error for p in points]
        axes.errorbar(at, values, errors, fmt="o", color=COLOURS[1], ms=4, capsize=2, label="clusters, ±2 s.e.")
        axes.axvline(1 / CRITICAL, color="0.6", linewidth=0.8, linestyle="--", label="Tc of the infinite lattice")
        axes.set(xlabel="temperature [J/k]", ylabel=label)
        axes.legend(fontsize=8)
    return figure
