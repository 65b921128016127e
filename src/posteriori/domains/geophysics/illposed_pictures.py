"""Pictures of ill-posedness: Picard plot, singular vectors, resolution, silent bodies, L-curve, visible wavelengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from posteriori.core.grid import Floats
from posteriori.core.space import Space
from posteriori.domains.geophysics.illposed import Problem
from posteriori.domains.geophysics.pictures import Marks, curves_picture, draw_section, sections_picture
from posteriori.domains.picture import COLOURS, Colours, blank
from posteriori.inference.filters import Filters, strengths
from posteriori.inference.resolution import Wavelengths
from posteriori.inference.spectrum import Picard

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def panels_picture(
    space: Space,
    panels: Mapping[str, Tensor],
    colours: Colours | Mapping[str, Colours],
    label: str,
    marks: Sequence[Marks] = (),
) -> Figure:
    """Fields over a section below one another, or over a line in one frame."""
    if space.dims == ("z", "x"):
        shown = {title: values.numpy() for title, values in panels.items()}
        return sections_picture(shown, space.labels("z"), space.labels("x"), colours, marks)
    at = space.labels(space.dims[-1]).astype(float) if len(space.dims) == 1 else np.arange(space.size)
    curves = {title: (at, values.flatten().numpy()) for title, values in panels.items()}
    return curves_picture(curves, space.dims[-1] if len(space.dims) == 1 else "cell", label)


def picard_picture(picard: Picard) -> Figure:
    """Singular values beside what the data hold along each direction and what undamped inversion makes of it."""
    figure, axes = blank(7.0, 4.4)
    at = np.arange(1, len(picard.values) + 1)
    axes.semilogy(at, picard.values, color=COLOURS[0], label="signal: singular value")
    axes.semilogy(at, picard.seen[0], ".", color=COLOURS[1], markersize=4, label="data: |uᵀd|")
    axes.semilogy(at, picard.solution[0], ".", color=COLOURS[2], markersize=4, label="undamped unknown: |uᵀd| / value")
    axes.axhline(1.0, color="0.4", linewidth=0.8, linestyle="--", label="noise (data), prior (unknown)")
    if 0 < picard.visible < len(at):
        axes.axvline(picard.visible + 0.5, color="0.6", linewidth=0.8)
    floor = 0.1 * float(picard.values[picard.values > 1e-12 * picard.values[0]].min())
    axes.set(xlabel="direction", ylabel="standard deviations", ylim=(min(floor, 0.01), None))
    axes.legend(fontsize=8, loc="lower left")
    return figure


def vectors_picture(problem: Problem, bodies: Tensor, which: Sequence[int], values: Tensor) -> Figure:
    """Singular vectors as bodies, each scaled to one, with their singular values."""
    panels = {
        f"direction {i + 1}: signal {float(values[i]):.2g} × noise": body / body.abs().max()
        for i, body in zip(which, bodies, strict=True)
    }
    return panels_picture(problem.space, panels, Colours("share of the largest", -1, 1, centred=True), "share")


def l_curve_picture(filters: Filters, chosen: Mapping[str, float]) -> Figure:
    """Roughness against misfit of the first problem for all strengths, and where each rule stops."""
    figure, axes = blank(6.2, 4.6)
    low, high = filters.range()
    tried = strengths(low, high, 300, filters.outside).expand(len(filters.outside), -1)
    axes.loglog(filters.misfit(tried)[0].sqrt(), filters.roughness(tried)[0].sqrt(), color="0.5", linewidth=1.2)
    for (name, strength), colour, marker in zip(chosen.items(), COLOURS, "osD^", strict=False):
        one = torch.full((len(filters.outside), 1), strength, dtype=torch.float64)
        x, y = float(filters.misfit(one)[0, 0] ** 0.5), float(filters.roughness(one)[0, 0] ** 0.5)
        axes.plot(x, y, marker, color=colour, markersize=8, label=f"{name}: λ = {strength:.2g}")
    axes.axvline(filters.count**0.5, color="0.6", linewidth=0.8, linestyle="--", label="√(number of data)")
    axes.set(xlabel="misfit ‖d - Jm‖, in standard deviations of noise", ylabel="roughness ‖Lm‖")
    axes.legend(fontsize=8)
    return figure


def wavelengths_picture(seen: Wavelengths) -> Figure:
    """Share of each wavelength that the data see at each depth, with the border at one half."""
    figure, axes = blank(7.0, 4.2)
    finite = torch.isfinite(seen.wavelength)
    wave, share = seen.wavelength[finite], seen.share[:, finite]
    image = axes.pcolormesh(wave, seen.depth, share, cmap="viridis", vmin=0, vmax=1, shading="nearest", rasterized=True)
    half = seen.shortest()
    known = torch.isfinite(half)
    axes.plot(half[known], seen.depth[known], color="white", marker=".", linewidth=1.2, label="shortest half seen")
    axes.set(
        xscale="log", xlabel="wavelength across [m]", ylabel="depth [m]", xlim=(float(wave.min()), float(wave.max()))
    )
    axes.invert_yaxis()
    axes.legend(fontsize=8, loc="lower left", facecolor="0.3", labelcolor="white")
    figure.colorbar(image, ax=axes, label="share of the prior variance removed")
    return figure


def silent_picture(problem: Problem, bodies: Mapping[str, Tensor]) -> Figure:
    """Bodies, each above the data that it makes and those that its absolute value would make."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.9 * len(bodies)), layout="constrained")
    grid = figure.subplots(2 * len(bodies), 1, height_ratios=[1.0, 0.8] * len(bodies))
    operator = problem.target.operator
    label, across = problem.across
    for i, (title, body) in enumerate(bodies.items()):
        section, profile = grid[2 * i], grid[2 * i + 1]
        _draw_body(section, problem, body)
        section.set_title(title, fontsize=10, loc="left")
        plain = operator.codomain.flat(operator.matmul(body.abs()))
        silent = operator.codomain.flat(operator.matmul(body))
        profile.plot(across, plain, color="0.5", label="its absolute value")
        profile.plot(across, silent, color=COLOURS[1], label="the body")
        noise = float(problem.errors.square().mean().sqrt())
        profile.axhspan(-noise, noise, color="0.85", label="± noise")
        profile.set(xlabel=label, ylabel=problem.datum)
        profile.legend(fontsize=8, loc="upper right")
    return figure


def _draw_body(axes: object, problem: Problem, body: Tensor) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    space = problem.space
    if space.dims == ("z", "x"):
        draw_section(axes, body.numpy(), space.labels("z"), space.labels("x"), Colours(problem.label, centred=True))
        return
    at: Floats = space.labels(space.dims[-1]).astype(float)
    axes.plot(at, body.flatten().numpy(), color=COLOURS[0])
    axes.set(xlabel=space.dims[-1], ylabel=problem.label)
