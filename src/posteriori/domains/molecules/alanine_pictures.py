"""Pictures of alanine dipeptide: surfaces over (φ, ψ), the φ profile, weights, marginals of stiff coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from posteriori.domains.molecules.ramachandran import Profile
from posteriori.domains.picture import COLOURS, blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HIGHEST = 12.0
"""Free energies [kT] are coloured up to this."""
APART = 0.5
"""Differences [kT] are coloured up to this."""
TICKS = (-180, -90, 0, 90, 180)


def surfaces_picture(surfaces: Mapping[str, Tensor], difference: Tensor, title: str) -> Figure:
    """Free energies (bin, bin) over (φ, ψ) side by side, then ``difference``, NaN where the reference is too rough."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.1 * (len(surfaces) + 1) + 1.2, 3.6), layout="constrained")
    panels = figure.subplots(1, len(surfaces) + 1, sharex=True, sharey=True)
    edge: dict[str, Any] = {"extent": (-180, 180, -180, 180), "origin": "lower", "interpolation": "nearest"}
    for axes, (name, surface) in zip(panels, surfaces.items(), strict=False):
        values = np.where(np.isfinite(surface.numpy()), surface.numpy(), np.nan).T
        shown = axes.imshow(values, cmap="viridis", vmin=0, vmax=HIGHEST, **edge)
        axes.set_title(name, fontsize=10)
    figure.colorbar(shown, ax=list(panels[:-1]), label="free energy [kT]", extend="max", shrink=0.8)
    panels[-1].set_facecolor("0.85")
    apart = panels[-1].imshow(difference.numpy().T, cmap="RdBu_r", vmin=-APART, vmax=APART, **edge)
    panels[-1].set_title(title, fontsize=10)
    figure.colorbar(apart, ax=panels[-1], label="difference [kT]", extend="both", shrink=0.8)
    for axes in panels:
        axes.set(xlabel="φ [°]", xticks=TICKS, yticks=TICKS)
    panels[0].set_ylabel("ψ [°]")
    return figure


def profile_picture(profile: Profile, reference: Tensor) -> Figure:
    """The φ profile of weighted draws with its 95 % band, and that of the reference over the same bins (bin,)."""
    figure, axes = blank(6.4, 4.0)
    degrees = np.degrees(profile.centres.numpy())
    values, errors = profile.values.numpy(), profile.errors.numpy()
    known = np.isfinite(values) & np.isfinite(errors)
    low, high = values - 1.96 * errors, values + 1.96 * errors
    axes.fill_between(degrees[known], low[known], high[known], color=COLOURS[4], alpha=0.5, label="95 % band")
    axes.plot(degrees[known], values[known], color=COLOURS[0], label="reweighted draws")
    shift = torch.logsumexp(-reference, 0) - torch.logsumexp(-profile.values, 0)
    axes.plot(degrees, (reference + shift).numpy(), "o", color=COLOURS[1], markersize=4, label="reference")
    axes.set(xlabel="φ [°]", ylabel="potential of mean force [kT]", xticks=TICKS, xlim=(-180, 180))
    axes.legend(frameon=False)
    return figure


def weights_picture(log_weights: Mapping[str, Tensor]) -> Figure:
    """Histograms of log-weights less the log of their mean, one for each named set."""
    figure, axes = blank(6.4, 4.0)
    for (name, values), colour in zip(log_weights.items(), COLOURS, strict=False):
        finite = values[torch.isfinite(values)]
        shifted = finite - torch.logsumexp(values, 0) + np.log(len(values))
        bins = list(np.linspace(-6, 4, 101))
        axes.hist(shifted.numpy(), bins=bins, density=True, histtype="step", color=colour, label=name)
    axes.axvline(0.0, color="0.6", linewidth=0.8)
    axes.set(xlabel="log of the weight, less that of the mean weight", ylabel="density")
    axes.legend(frameon=False)
    return figure


def marginals_picture(columns: Mapping[str, tuple[Tensor, Tensor, Tensor]]) -> Figure:
    """Densities of single coordinates: label → draws, their weights, rows of the replicas."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 5.4), layout="constrained")
    panels = figure.subplots(2, -(-len(columns) // 2)).ravel()
    for axes, (label, (draws, weights, frames)) in zip(panels, columns.items(), strict=False):
        low, high = np.quantile(frames.numpy(), [0.0005, 0.9995])
        edges = list(np.linspace(low, high, 61))
        plain: dict[str, Any] = {"bins": edges, "density": True, "histtype": "step"}
        axes.hist(frames.numpy(), bins=edges, density=True, color="0.85", label="replicas")
        axes.hist(draws.numpy(), color=COLOURS[1], label="draws", **plain)
        axes.hist(draws.numpy(), weights=weights.numpy(), color=COLOURS[0], label="reweighted", **plain)
        axes.set(xlabel=label, yticks=[])
        axes.locator_params(axis="x", nbins=4)
    for axes in panels[len(columns) :]:
        axes.set_axis_off()
    panels[0].legend(frameon=False, fontsize=8)
    figure.supylabel("density")
    return figure
