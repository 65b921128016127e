"""Identities that rows of exp(-energy) obey exactly, as z-scores: virial, equipartition, mean force, Stein's."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from posteriori.audit.weighted_rows import WeightedRows, energies
from posteriori.core.random import Rng

MOST = 64
"""Coordinates that are looked at one by one; of more, as many random directions."""
FEATURES = 16
RIDGE = 1e-6
STEP = 1e-4
"""Finite-difference step over the spread of the rows."""


@dataclass(frozen=True)
class Identity:
    """A family of figures that are zero on average under the target.

    Attributes:
        name: of the identity.
        means: weighted means (j,) of the figures.
        errors: their standard errors (j,), zero where a figure does not vary.
        expected: what the identity says, for figures that are shown with it: a figure's mean is found less expected.
        text: what it says, for people.
    """

    name: str
    means: Tensor
    errors: Tensor
    expected: float
    text: str

    @property
    def z(self) -> Tensor:
        """Means over errors, (j,)."""
        return torch.where(self.errors > 0, self.means / self.errors.clamp_min(1e-300), 0.0)


def identities(rows: WeightedRows, rng: Rng) -> list[Identity]:
    """Every identity that a smooth energy on real coordinates obeys.

    Stein's identity: under exp(-U), E[div f - f · ∇U] = 0 for each smooth field f that exp(-U) damps. The fields here:
    x (virial), single coordinates (equipartition), constants (mean force), ∇U tamed (|∇U|² = ∇²U), x within levels of
    energy, and random waves.
    """
    from_centre, slope = _looked_at(rows, rng.child("directions"))
    n = rows.x.shape[1]
    work = ((rows.x - rows.centre) * rows.slope).sum(1)
    partial = from_centre * slope
    curvature, levels = _curvature(rows, rng.child("probe")), _levels(rows, work)
    every = [(work - n)[:, None], partial - 1.0, curvature[0] - curvature[1], levels[0] - levels[1]]
    heat = _temperature(rows, torch.cat(every, 1), torch.cat([work[:, None], partial, curvature[0], levels[0]], 1))
    return [
        _identity(rows, "virial", every[0], n, f"<x·∇U> = {n}, the degrees of freedom"),
        _identity(rows, "mean_force", slope, 0.0, "<∂U/∂x> = 0"),
        _identity(rows, "equipartition", every[1], 1.0, "<x ∂U/∂x> = 1 for each coordinate"),
        _identity(rows, "curvature", every[2], 0.0, "<|∇U|²> = <∇²U>, large slopes tamed"),
        _identity(rows, "virial_by_energy", every[3], 0.0, "the virial within levels of energy"),
        _identity(rows, "waves", _waves(rows, rng.child("waves")), 0.0, "Stein's identity for random waves"),
        _identity(rows, "temperature", heat, 1.0, "the temperature that the rows show is the target's"),
    ]


def _identity(rows: WeightedRows, name: str, figures: Tensor, expected: float, text: str) -> Identity:
    """Errors are taken about zero, what the figures average to if the identity holds: large figures then tell less."""
    return Identity(name, rows.weights @ figures, rows.error(figures), expected, text)


def _temperature(rows: WeightedRows, excess: Tensor, work: Tensor) -> Tensor:
    """Figures (row, 1) whose mean is the rows' temperature over the target's, less one.

    Rows of exp(-U / τ) have <f · ∇U> = τ <div f> for every field f; the excess <f · ∇U - div f> of several fields is
    weighed so that what they have in common shows with least error.
    """
    common = rows.weights @ (work - excess)
    influence = rows.weights[:, None] * (excess - rows.weights @ excess)
    covariance = influence.mT @ influence
    scale = covariance.diagonal().sqrt().clamp_min(1e-300)
    fields = excess.shape[1]
    share = fields / (fields + rows.effective_in_time)
    correlation = (1 - share) * covariance / (scale[:, None] * scale) + share * torch.eye(fields, dtype=torch.float64)
    direction = torch.linalg.solve(correlation + RIDGE * torch.eye(fields, dtype=torch.float64), common / scale) / scale
    return (excess @ direction / (common @ direction).clamp_min(1e-300))[:, None]


def _looked_at(rows: WeightedRows, rng: Rng) -> tuple[Tensor, Tensor]:
    """Coordinates from their centre and slopes, (row, j), along the axes or, of many, along random directions."""
    n = rows.x.shape[1]
    if n <= MOST:
        return rows.x - rows.centre, rows.slope
    directions = rng.normal((n, MOST))
    directions = directions / directions.norm(dim=0)
    return (rows.x - rows.centre) @ directions, rows.slope @ directions


def _levels(rows: WeightedRows, work: Tensor) -> tuple[Tensor, Tensor]:
    """f = ψ(U) (x - c), ψ a step at a quantile of U: f · ∇U = ψ work, div f = ψ n + ψ' work, each (row, level)."""
    points = _quantiles(rows, (0.1, 0.5, 0.9))
    width = (points[2] - points[0]).clamp_min(1e-12) / 4
    step = torch.sigmoid((rows.energy[:, None] - points) / width)
    return step * work[:, None], step * rows.x.shape[1] + step * (1 - step) / width * work[:, None]


def _waves(rows: WeightedRows, rng: Rng) -> Tensor:
    """f = v ψ(U) cos(k · x + b) with ψ a smooth window of energy that tames far rows, (row, wave)."""
    n = rows.x.shape[1]
    wave = rng.normal((n, FEATURES)) / rows.spread[:, None] / sqrt(n)
    along = rng.normal((n, FEATURES)) * rows.spread[:, None] / sqrt(n)
    phase = (rows.x - rows.centre) @ wave + 2 * torch.pi * rng.uniform((FEATURES,))
    low, high = _quantiles(rows, (0.02, 0.98))
    width = (high - low).clamp_min(1e-12) / 8
    up, down = torch.sigmoid((rows.energy - low) / width), torch.sigmoid((high - rows.energy) / width)
    window = (up * down)[:, None]
    rises = window * (down - up)[:, None] / width
    turning = -(along * wave).sum(0) * phase.sin() * window
    return turning + phase.cos() * (rises - window) * (rows.slope @ along)


def _curvature(rows: WeightedRows, rng: Rng) -> tuple[Tensor, Tensor]:
    """f = φ ∇U with φ = 1 / (1 + |∇U|² / s²): f · ∇U = φ |g|² and div f = φ ∇²U + 2 φ' gᵀHg, each (row, 1).

    The Laplacian is that of a random probe, H v a central difference of slopes; coordinates are scaled by their spread,
    so that stiff ones do not drown.
    """
    scale = rows.spread
    g = rows.slope * scale
    square = g.square().sum(1)
    size = square.median().clamp_min(1e-300) * 2
    tame = 1 / (1 + square / size)
    probe = torch.sign(rng.normal(g.shape))
    along = g / g.norm(dim=1, keepdim=True).clamp_min(1e-300)
    laplacian = (_curved(rows, probe * scale) * probe * scale).sum(1)
    bend = (_curved(rows, along * scale) * along * scale).sum(1)
    spreads = tame * laplacian - 2 * tame.square() / size * square * bend
    work = tame * square
    # where differences of slopes overflow, the row is left out of both sides
    sound = torch.isfinite(spreads)
    return torch.where(sound, work, 0.0)[:, None], torch.where(sound, spreads, 0.0)[:, None]


def _curved(rows: WeightedRows, direction: Tensor) -> Tensor:
    """H v for each row, (row, n), by central differences of the slope."""
    slopes = [_slope_at(rows, rows.x + sign * STEP * direction) for sign in (1, -1)]
    return (slopes[0] - slopes[1]) / (2 * STEP)


def _slope_at(rows: WeightedRows, x: Tensor) -> Tensor:
    space, frame = rows.target.space, rows.frame
    if frame is None:
        return space.flat(energies(rows.target, space.unflat(x))[1])
    positions = frame(frame.domain.unflat(x))
    return frame.coordinates(energies(rows.target, positions)[1]).flatten(1)


def _quantiles(rows: WeightedRows, levels: tuple[float, ...]) -> Tensor:
    """Weighted quantiles of the energy, (level,)."""
    order = rows.energy.argsort()
    edges = rows.weights[order].cumsum(0)
    at = torch.searchsorted(edges, torch.tensor(levels, dtype=torch.float64) * edges[-1])
    return rows.energy[order][at.clamp_max(len(order) - 1)]
