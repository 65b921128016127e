"""Gravity of a prism mesh, and its gradient."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike

from posteriori.core.errors import OptionError
from posteriori.core.space import Space
from posteriori.physics.block_toeplitz import LevelField, level_space
from posteriori.physics.prism import Floats, weights
from posteriori.physics.prism_mesh import mesh
from posteriori.physics.scattered import StationField, placed, station_space, with_components

G = 6.67430e-11
"""Newton's constant [m³ kg⁻¹ s⁻²], CODATA 2018."""
MGAL = 1e5
"""mGal in one m/s²."""
EOTVOS = 1e9
"""Eötvös in one s⁻²."""
NAGY = "Nagy, Papp & Benedek (2000), The gravitational potential and its derivatives for the prism, J. Geodesy 74, 552."
VOGEL = "Vogel (2002), Computational Methods for Inverse Problems, SIAM, section 5.2."
DENSITY = "kg/m^3"


COMPONENTS = ("xx", "xy", "xz", "yy", "yz", "zz")


class Gravity(LevelField):
    """Gravity g_z [mGal], positive downwards, on a level grid of stations above a mesh of densities.

    Args:
        domain: densities of prisms, dims ("z", "y", "x") [m], even in x and y, z downwards; layers of any thickness,
            see :func:`prism_mesh.mesh`.
        y, x: northing and easting of the grid [m], anywhere, spaced as the cells or in a simple ratio to them; the
            centres of the cells without.
        height: of the stations [m], upwards from the zero of z.
        dtype: precision in which the kernel's spectra are held.

    Reference: Vogel (2002), Computational Methods for Inverse Problems, SIAM, section 5.2.
    """

    references: ClassVar[tuple[str, ...]] = (NAGY, VOGEL)

    def __init__(
        self,
        domain: Space,
        y: ArrayLike | None = None,
        x: ArrayLike | None = None,
        height: float = 0.0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        codomain = level_space("gravity", "mGal", domain, y, x)
        super().__init__(domain, DENSITY, gravity_weights(), codomain, height, touch=True, dtype=dtype)

    @staticmethod
    def example() -> Gravity:
        """A grid finer than the cells, shifted and wider than the mesh, on its top."""
        return Gravity(example_mesh(), y=-7.0 + 40.0 * np.arange(4), x=13.0 + 25.0 * np.arange(7))


class GravityGradient(LevelField):
    """Components of the gradient of gravity [eotvos] on a level grid; x east, y north, z down.

    T_ij = ∂g_i / ∂x_j by the station; T_zz is positive above an excess of mass.

    Args:
        domain, y, x, height, dtype: as for :class:`Gravity`; the stations lie above the mesh, not on it.
        components: of "xx", "xy", "xz", "yy", "yz", "zz".
    """

    references: ClassVar[tuple[str, ...]] = (NAGY, VOGEL)

    def __init__(
        self,
        domain: Space,
        y: ArrayLike | None = None,
        x: ArrayLike | None = None,
        height: float = 0.0,
        components: tuple[str, ...] = ("zz",),
        dtype: torch.dtype = torch.float64,
    ) -> None:
        kernel = gradient_weights(components)
        codomain = level_space("gravity_gradient", "eotvos", domain, y, x, components)
        super().__init__(domain, DENSITY, kernel, codomain, height, touch=False, dtype=dtype)

    @staticmethod
    def example() -> GravityGradient:
        """All six, at the centres of the cells."""
        return GravityGradient(example_mesh(), height=5.0, components=COMPONENTS)


class ScatteredGravity(StationField):
    """Gravity g_z [mGal], positive downwards, at stations anywhere outside a mesh of densities.

    Args:
        domain: densities of prisms, dims ("z", "y", "x") [m], z downwards; see :func:`prism_mesh.mesh`. Cells outside
            a mask are air, where stations may stand.
        easting, northing: of the stations [m].
        height: of the stations [m], upwards from the zero of z.
        labels: of the stations; 0, 1, … without.
        beyond: how far [m] a station may lie outside the mesh sideways.
        keep: whether to keep the kernel (8 bytes × stations × cells) or to make its rows anew at each product; kept
            up to 1 GiB without.
    """

    references: ClassVar[tuple[str, ...]] = (NAGY,)

    def __init__(
        self,
        domain: Space,
        easting: ArrayLike,
        northing: ArrayLike,
        height: ArrayLike,
        labels: ArrayLike | None = None,
        beyond: float = 0.0,
        keep: bool | None = None,
    ) -> None:
        stations = placed(domain, easting, northing, height, beyond, touch=True)
        codomain = station_space("gravity", "mGal", stations, labels)
        super().__init__(domain, DENSITY, gravity_weights(), codomain, stations, keep)

    @staticmethod
    def example() -> ScatteredGravity:
        """Three stations on a small mesh of unequal layers, one of them on the ground."""
        return ScatteredGravity(example_mesh(), [20.0, 170.0, 55.5], [10.0, 90.0, 61.0], [0.0, 3.0, 40.0])


class ScatteredGravityGradient(StationField):
    """Components of the gradient of gravity [eotvos] at stations anywhere outside a mesh; x east, y north, z down.

    Args:
        domain, easting, northing, height, labels, beyond, keep: as for :class:`ScatteredGravity`; no station touches
            the top of a cell.
        components: of "xx", "xy", "xz", "yy", "yz", "zz".
    """

    references: ClassVar[tuple[str, ...]] = (NAGY,)

    def __init__(
        self,
        domain: Space,
        easting: ArrayLike,
        northing: ArrayLike,
        height: ArrayLike,
        components: tuple[str, ...] = ("zz",),
        labels: ArrayLike | None = None,
        beyond: float = 0.0,
        keep: bool | None = None,
    ) -> None:
        kernel = gradient_weights(components)
        stations = placed(domain, easting, northing, height, beyond, touch=False)
        codomain = with_components(station_space("gravity_gradient", "eotvos", stations, labels), components)
        super().__init__(domain, DENSITY, kernel, codomain, stations, keep)

    @staticmethod
    def example() -> ScatteredGravityGradient:
        """Two components at three stations."""
        place = ([20.0, 170.0, 55.5], [10.0, 90.0, 61.0], [2.0, 3.0, 40.0])
        return ScatteredGravityGradient(example_mesh(), *place, components=("xz", "zz"))


def gravity_weights() -> Floats:
    """g_z of unit density [mGal per kg/m³], (1, 9)."""
    return -G * MGAL * weights(z=1)[None]


def gradient_weights(components: tuple[str, ...]) -> Floats:
    """Components of unit density [eotvos per kg/m³], (components, 9).

    Raises:
        OptionError: none, or a name outside :data:`COMPONENTS`.
    """
    unknown = [c for c in components if c not in COMPONENTS]
    if unknown or not components:
        raise OptionError(f"components {components} of the gradient; give some of {COMPONENTS}.")
    return G * EOTVOS * np.stack([weights(**{c: 1.0}) for c in components])


def example_mesh() -> Space:
    """24 cells of unequal layers."""
    return mesh("density", DENSITY, z=[0.0, 30.0, 80.0], y=np.arange(4) * 40.0, x=np.arange(5) * 50.0)
