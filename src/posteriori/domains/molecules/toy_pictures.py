"""Pictures of generators in the plane: densities side by side, weights, the potential of mean force."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from posteriori.domains.molecules.toy import Truth
from posteriori.domains.molecules.toy_rows import Measured
from posteriori.domains.picture import COLOURS, blank
from posteriori.inference.umbrella import Profile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTH = 16.0
"""-log p [nats] up to which densities are coloured."""
FRAME = 12.0
"""-log p [nats] that the frame of a picture holds."""


def densities_picture(truth: Truth, log_qs: dict[str, Callable[[Tensor], Tensor]]) -> Figure:
    """-log density of the exact law and of each learnt one, on one scale."""
    from matplotlib.figure import Figure

    shown = truth.log_p > truth.log_p.max() - FRAME
    x, y = (axis[shown.any(1 - i)] for i, axis in enumerate((truth.x, truth.y)))
    x, y = (torch.linspace(float(a[0]), float(a[-1]), 181, dtype=torch.float64) for a in (x, y))
    points = torch.cartesian_prod(x, y)
    with torch.no_grad():
        maps = {"exact": -truth.toy.target(truth.temperature).energy(points) - truth.log_z}
        maps |= {name: log_q(points) for name, log_q in log_qs.items()}
    top = float(maps["exact"].max())
    figure = Figure(figsize=(0.6 + 3.3 * len(maps), 3.9), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(maps), sharey=True))
    for axes, (name, values) in zip(panels, maps.items(), strict=True):
        depth = (top - values).clamp_min(0.0).reshape(len(x), len(y)).T.numpy()
        filled = axes.contourf(x, y, depth, np.linspace(0, DEPTH, 17), cmap="viridis_r", extend="max")
        axes.contour(x, y, depth, np.arange(0, DEPTH + 1, 4.0), colors="white", linewidths=0.5)
        axes.set(xlabel="x", title=name)
    panels[0].set_ylabel("y")
    figure.colorbar(filled, ax=list(panels), label="-log density above the exact least [nats]")
    return figure


def weights_picture(raw: dict[str, Tensor]) -> Figure:
    """Histograms of log₁₀ of the weight over its mean, for each set of raw log-weights (n,)."""
    figure, axes = blank(6.4, 3.6)
    for i, (name, log_w) in enumerate(raw.items()):
        seen = log_w[log_w > -torch.inf]
        relative = (seen - torch.logsumexp(seen, 0) + np.log(len(log_w))) / np.log(10.0)
        rows, edges = np.histogram(relative.clamp_min(-4).numpy(), np.linspace(-4, 4, 161))
        axes.stairs(rows, edges, color=COLOURS[i], label=name)
    axes.axvline(0.0, color="0.5", linewidth=0.8)
    axes.set(xlabel="log₁₀ (weight / mean weight); below -4: at -4", ylabel="rows", yscale="log", xlim=(-4.1, 4))
    axes.legend(fontsize=9)
    return figure


def profile_picture(truth: Truth, found: Measured, umbrella: Profile | None) -> Figure:
    """The potential of mean force along x with two standard errors, beside the exact one, and what is off below."""
    from matplotlib.figure import Figure

    middle = ((found.edges[1:] + found.edges[:-1]) / 2).numpy()
    exact = truth.profile(found.edges).numpy()
    lowest = exact.min()
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    value, error = (part.numpy() for part in found.profile)
    above.plot(middle, exact - lowest, color="0.3", linewidth=1.0, label="exact")
    seen = np.isfinite(value)
    shown = {"generator": (middle[seen], value[seen], error[seen], exact[seen])}
    if umbrella is not None:
        there = np.isfinite(umbrella.values.numpy())
        shown["umbrella + MBAR"] = (
            middle[there],
            umbrella.values.numpy()[there],
            umbrella.errors.numpy()[there],
            exact[there],
        )
    for i, (name, (at, values, errors, known)) in enumerate(shown.items()):
        above.fill_between(at, values - 2 * errors - lowest, values + 2 * errors - lowest, color=COLOURS[i], alpha=0.3)
        above.plot(at, values - lowest, ".", color=COLOURS[i], label=f"{name}, ±2 s.e.")
        below.fill_between(at, -2 * errors, 2 * errors, color=COLOURS[i], alpha=0.3)
        below.plot(at, values - known, ".", color=COLOURS[i])
    below.axhline(0.0, color="0.3", linewidth=1.0)
    above.set(ylabel="potential of mean force [kT]")
    below.set(xlabel="x", ylabel="less the exact one [kT]")
    above.legend(fontsize=9)
    return figure
