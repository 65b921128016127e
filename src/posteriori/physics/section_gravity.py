"""Gravity of a vertical section: bodies that do not change along strike, or end at a distance on both sides."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from posteriori.core import memory, units
from posteriori.core.errors import DataError
from posteriori.core.operator import Operator, TorchOperator
from posteriori.core.space import Space
from posteriori.physics.gravity import DENSITY, MGAL, G, gravity_weights
from posteriori.physics.prism import prism_rows
from posteriori.physics.prism_mesh import Floats, borders, mesh, positions, require_dims
from posteriori.physics.scattered import station_space

TALWANI = (
    "Talwani, Worzel & Landisman (1959), Rapid gravity computations for two-dimensional bodies, "
    "J. Geophys. Res. 64, 49."
)


class SectionGravity(TorchOperator):
    """Gravity g_z [mGal], positive downwards, of densities in a section at stations along it.

    Rectangles of infinite strike: g = 2 G ρ ΔΔ[½ x ln(x² + z²) + z atan(x / z)] over their corners; with ``strike``,
    prisms that end ``strike / 2`` on both sides of the section (2.5-D).

    Args:
        domain: densities, dims ("z", "x") [m], z downwards; see :func:`prism_mesh.mesh`.
        x: of the stations along the section [m].
        height: of the stations [m], upwards from the zero of z; one number serves all.
        labels: of the stations; 0, 1, … without.
        strike: length [m] of all bodies across the section; infinite without.
        beyond: how far [m] a station may lie outside the section sideways.

    Raises:
        DataError: a station outside the section, or inside it.

    Reference: Talwani, Worzel & Landisman (1959), Rapid gravity computations for two-dimensional bodies,
    J. Geophys. Res. 64, 49.
    """

    linear = True
    references: ClassVar[tuple[str, ...]] = (TALWANI,)

    def __init__(
        self,
        domain: Space,
        x: ArrayLike,
        height: ArrayLike = 0.0,
        labels: ArrayLike | None = None,
        strike: float | None = None,
        beyond: float = 0.0,
    ) -> None:
        super().__init__()
        require_dims(domain, ("z", "x"))
        stations = positions(x, 0.0, height)
        edges_x, edges_z = borders(domain, "x"), borders(domain, "z")
        require_above(stations, edges_x, edges_z, beyond)
        self.domain = domain
        self.codomain = station_space("gravity", "mGal", stations, labels)
        memory.require(16.0 * len(stations) * domain.size, f"{self}", "take fewer stations or cells")
        matrix = section_kernel(edges_x, edges_z, stations, strike) * units.factor(domain.unit, DENSITY)
        if domain.mask is not None:
            matrix = matrix * domain.mask.cpu().numpy()
        self.register_buffer("matrix", torch.from_numpy(matrix).flatten(1), persistent=False)
        self.matrix: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """g_z at the stations."""
        return (self.domain.flat(m).double() @ self.matrix.mT).to(m.dtype)

    def rows(self, like: Tensor) -> Tensor:
        """The dense kernel, (stations, cells)."""
        return self.matrix.to(like)

    def select(self, dim: str, labels: Any) -> Operator:
        """Fewer stations: their rows of the kernel."""
        index = self.codomain.index(dim, labels)
        other = SectionGravity.__new__(SectionGravity)
        Operator.__init__(other)
        other.domain, other.codomain = self.domain, self.codomain.select(dim, labels)
        other.register_buffer("matrix", self.matrix[index], persistent=False)
        return other

    @staticmethod
    def example() -> SectionGravity:
        """Three stations above two unequal layers."""
        section = mesh("density", DENSITY, z=[0.0, 50.0, 150.0], x=100.0 * np.arange(5))
        return SectionGravity(section, [0.0, 130.0, 400.0], [0.0, 20.0, 5.0])


def section_kernel(x: Floats, z: Floats, stations: Floats, strike: float | None) -> Floats:
    """g_z [mGal per kg/m³] of each rectangle between the borders at stations (n, 3), (n, nz, nx)."""
    if strike is not None:
        if not strike > 0:
            raise DataError(
                f"a strike of {strike:g} m; give the whole length of the bodies, or none for infinite ones."
            )
        out = np.empty((len(stations), len(z) - 1, 1, len(x) - 1))
        prism_rows(x, np.array([-0.5 * strike, 0.5 * strike]), z, stations, gravity_weights()[0], out)
        return out[:, :, 0]
    across = x[None, None] - stations[:, 0, None, None]
    below = z[None, :, None] - stations[:, 2, None, None]
    squared = np.square(across) + np.square(below)
    corner = 0.5 * across * np.log(np.where(squared > 0, squared, 1.0)) + below * np.arctan2(across, below)
    return 2 * G * MGAL * np.diff(np.diff(corner, axis=1), axis=2)


def require_above(stations: Floats, x: Floats, z: Floats, beyond: float) -> None:
    """Refuse stations (n, 3) below the top of a section, or beside it by more than ``beyond`` [m].

    Raises:
        DataError: the first of them.
    """
    at, up = stations[:, 0], -stations[:, 2]
    bad = (at < x[0] - beyond) | (at > x[-1] + beyond) | (up < -z[0])
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"station {first} at x = {at[first]:g} m and height {up[first]:g} m is not above the section, which runs "
            f"from {x[0]:g} to {x[-1]:g} m and whose top is at {-z[0]:g} m ({int(bad.sum())} such stations): heights "
            "count upwards, depth downwards from one zero; widen the section, or allow stations beside it by beyond=."
        )
