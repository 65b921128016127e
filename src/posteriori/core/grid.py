"""Rectilinear grids: where their cells lie, how wide they are, and the derivatives of what lives on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from posteriori.core.errors import ShapeError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.core.support import Real

Floats = np.ndarray[Any, np.dtype[np.float64]]
EVEN = 1e-6
"""Labels are even when no two gaps differ by more than this share of the axis."""


def centres(space: Space, dim: str) -> Floats:
    """The labels of ``dim`` as numbers in rising or falling order.

    Raises:
        ShapeError: they are something else.
    """
    labels = space.labels(dim)
    if labels.dtype.kind not in "fiu":
        raise ShapeError(f"labels of {space.name}.{dim} are {labels.dtype}; a grid needs positions, numbers in order.")
    steps = np.diff(labels.astype(float))
    if len(steps) and not (bool((steps > 0).all()) or bool((steps < 0).all())):
        raise ShapeError(f"labels of {space.name}.{dim} are not in order; sort the cells along {dim!r} first.")
    return labels.astype(float)


def even_step(space: Space, dim: str) -> float:
    """The distance of the labels of ``dim``, which rise evenly.

    Raises:
        ShapeError: they do not, or there is only one.
    """
    labels = centres(space, dim)
    gaps = np.diff(labels)
    if not len(gaps) or gaps[0] < 0 or np.ptp(gaps) > EVEN * (labels[-1] - labels[0]):
        raise ShapeError(
            f"labels of {space.name}.{dim} must rise in even steps, two at least (the first are {labels[:3]}): "
            "interpolate to an even grid."
        )
    return float(labels[-1] - labels[0]) / len(gaps)


def widths(space: Space, dim: str) -> Floats:
    """Widths of the cells along ``dim``: its coordinate ``<dim>_width`` where the Space has one (see
    ``prism_mesh.mesh``), else with borders halfway between the centres; a single cell then has width one.
    """
    gaps = np.abs(np.diff(centres(space, dim)))
    given = space.extra.get(f"{dim}_width")
    if given is not None:
        return np.asarray(given[1], np.float64)
    if not len(gaps):
        return np.ones(1)
    return 0.5 * (np.concatenate([gaps[:1], gaps]) + np.concatenate([gaps, gaps[-1:]]))


def volumes(space: Space) -> Tensor:
    """The volume of each cell, space.shape."""
    whole = torch.ones((), dtype=torch.float64)
    for dim in space.dims:
        whole = whole[..., None] * torch.from_numpy(widths(space, dim))
    return whole


class Gradient(TorchOperator):
    """∂m/∂a at the face between each cell and the next along every axis a; zero at the far end (Neumann).

    ``face_volumes`` are such that Σ face_volumes · gradient² = ∫ |∇m|² dV.

    Args:
        domain: a grid.
        per: unit of the labels.
    """

    linear = True

    def __init__(self, domain: Space, per: str = "m") -> None:
        super().__init__()
        self.domain = domain
        coords = {"direction": np.array(domain.dims), **domain.coords}
        self.codomain = Space(f"gradient of {domain.name}", coords, f"({domain.unit})/{per}")
        around = torch.stack([_along(np.append(_gaps(domain, dim), 0.0), domain, dim) for dim in domain.dims])
        self.register_buffer("inverse_gaps", torch.where(around > 0, 1 / around.clamp_min(1e-300), 0.0))
        areas = [volumes(domain) / _along(widths(domain, dim), domain, dim) for dim in domain.dims]
        self.register_buffer("face_volumes", around * torch.stack(areas))
        self.inverse_gaps: Tensor
        self.face_volumes: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """The derivatives, (*batch, direction, *shape)."""
        dims = len(self.domain.shape)
        steps = []
        for axis in range(-dims, 0):
            after = torch.cat([m.narrow(axis, 1, m.shape[axis] - 1), m.narrow(axis, m.shape[axis] - 1, 1)], axis)
            steps.append(after - m)
        return torch.stack(steps, -dims - 1) * self.inverse_gaps.to(m.dtype)

    @staticmethod
    def example() -> Gradient:
        """Unequal cells of a section."""
        return Gradient(Space("velocity", {"z": [10.0, 30.0, 80.0], "x": [0.0, 5.0]}, "m/s"))


class Laplacian(TorchOperator):
    """∇²m by finite volumes, no flux through the ends (Neumann).

    Args:
        domain: a grid.
        per: unit of the labels.
    """

    linear = True

    def __init__(self, domain: Space, per: str = "m") -> None:
        super().__init__()
        self.domain = domain
        self.codomain = replace(
            domain, name=f"Laplacian of {domain.name}", unit=f"({domain.unit})/{per}^2", support=Real()
        )
        self.register_buffer("inverse_gaps", Gradient(domain).inverse_gaps)
        inverse_widths = torch.stack([_along(1 / widths(domain, dim), domain, dim) for dim in domain.dims])
        self.register_buffer("inverse_widths", inverse_widths)
        self.inverse_gaps: Tensor
        self.inverse_widths: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """The sum of second derivatives, (*batch, *shape)."""
        dims = len(self.domain.shape)
        total = torch.zeros_like(m)
        for at, axis in enumerate(range(-dims, 0)):
            n = m.shape[axis]
            slope = (m.narrow(axis, 1, n - 1) - m.narrow(axis, 0, n - 1)) * self.inverse_gaps[at].narrow(
                axis, 0, n - 1
            ).to(m.dtype)
            none = torch.zeros_like(m.narrow(axis, 0, 1))
            change = torch.cat([slope, none], axis) - torch.cat([none, slope], axis)
            total = total + change * self.inverse_widths[at].to(m.dtype)
        return total

    @staticmethod
    def example() -> Laplacian:
        """Unequal cells of a section."""
        return Laplacian(Gradient.example().domain)


def _gaps(space: Space, dim: str) -> Floats:
    return np.abs(np.diff(centres(space, dim)))


def _along(values: Floats, space: Space, dim: str) -> Tensor:
    """One number a label of ``dim``, as a grid."""
    shape = [-1 if d == dim else 1 for d in space.dims]
    return torch.from_numpy(values).reshape(shape).expand(space.shape).clone()
