"""Magnetic anomalies of a prism mesh, from susceptibility or from magnetisation, with any field and remanence."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, degrees, pi, radians, sin
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike

from posteriori.core.errors import DataError, OptionError
from posteriori.core.space import Space
from posteriori.physics.block_toeplitz import LevelField, level_space
from posteriori.physics.prism import DERIVATIVES, Floats
from posteriori.physics.prism_mesh import mesh
from posteriori.physics.scattered import StationField, placed, station_space, with_components

NANOTESLA = 1e9
"""nT in one tesla."""
MU_0 = 1.25663706212e-6
"""Magnetic constant [T m A⁻¹], CODATA 2018; it cancels where a susceptibility meets a field in nT."""
BLAKELY = "Blakely (1995), Potential Theory in Gravity and Magnetic Applications, Cambridge, chapters 5 and 9."
AXES = ("east", "north", "down")
TOTAL = "total"
COMPONENTS = (TOTAL, *AXES)


@dataclass(frozen=True)
class Direction:
    """A direction: ``inclination`` downwards from the horizontal, ``declination`` eastwards from north, in degrees."""

    inclination: float
    declination: float

    def __post_init__(self) -> None:
        if not (-90 <= self.inclination <= 90 and -360 <= self.declination <= 360):
            raise DataError(
                f"inclination {self.inclination:g}°, declination {self.declination:g}°: give degrees in [-90, 90], "
                "downwards, and [-360, 360], eastwards from north."
            )

    def unit(self) -> Floats:
        """(east, north, down), of length one."""
        i, d = radians(self.inclination), radians(self.declination)
        return np.array([cos(i) * sin(d), cos(i) * cos(d), sin(i)])

    @staticmethod
    def of(vector: ArrayLike) -> Direction:
        """The direction of a vector (east, north, down)."""
        east, north, down = np.asarray(vector, np.float64)
        return Direction(degrees(np.arctan2(down, np.hypot(east, north))), degrees(np.arctan2(east, north)))


@dataclass(frozen=True)
class Magnetised:
    """How the cells are magnetised by what the domain holds.

    With ``intensity`` [nT], the strength of the inducing field, the unknown is a susceptibility κ [1] (SI): cells carry
    M = κ H₀ (f̂ + q m̂) with f̂ the direction of the ``field``, m̂ that of the ``remanence`` and q (``koenigsberger``)
    the ratio of remanent to induced magnetisation. Without, it is a magnetisation [A/m] along the remanence, or along
    the field where there is none. Demagnetisation (κ² effects) is neglected: the anomaly is linear in κ.
    """

    field: Direction
    intensity: float | None = None
    remanence: Direction | None = None
    koenigsberger: float = 0.0

    def __post_init__(self) -> None:
        if self.intensity is not None and not 1e3 < self.intensity < 1e6:
            raise DataError(f"a field of {self.intensity:g} nT; the Earth's has 20,000 to 70,000: check the unit.")
        if self.intensity is not None and (self.remanence is None) != (self.koenigsberger == 0):
            raise OptionError(
                "a remanence needs its ratio to the induced magnetisation, koenigsberger, and vice versa."
            )

    @property
    def unit(self) -> str:
        """The unit that the domain's values are taken to have."""
        return "A/m" if self.intensity is None else "1"

    def moment(self) -> Floats:
        """Magnetisation (east, north, down) [A/m] of a cell whose unknown is one."""
        if self.intensity is None:
            return (self.remanence or self.field).unit()
        direction = self.field.unit()
        if self.remanence is not None:
            direction = direction + self.koenigsberger * self.remanence.unit()
        return self.intensity / (NANOTESLA * MU_0) * direction

    def weights(self, components: tuple[str, ...]) -> Floats:
        """B_i = μ₀ / 4π Σ_j M_j U_ij [nT], (components, 9); the total-field anomaly is its part along the field.

        Raises:
            OptionError: none, or a name outside :data:`COMPONENTS`.
        """
        unknown = [c for c in components if c not in COMPONENTS]
        if unknown or not components:
            raise OptionError(f"components {components} of the anomaly; give some of {COMPONENTS}.")
        moment, found = self.moment(), np.zeros((len(components), len(DERIVATIVES)))
        for c, name in enumerate(components):
            along = self.field.unit() if name == TOTAL else np.eye(3)[AXES.index(name)]
            for (i, a), (j, b) in ((p, q) for p in enumerate("xyz") for q in enumerate("xyz")):
                found[c, DERIVATIVES.index("".join(sorted(a + b)))] += along[i] * moment[j]
        return MU_0 / (4 * pi) * NANOTESLA * found


class Magnetics(LevelField):
    """The magnetic anomaly [nT] on a level grid above a mesh of susceptibilities or magnetisations.

    Args:
        domain: prisms, dims ("z", "y", "x") [m], even in x and y, z downwards; SI susceptibility or A/m.
        magnetised: how the cells are magnetised.
        y, x: northing and easting of the grid [m], spaced as the cells or in a simple ratio to them; the centres of
            the cells without.
        height: of the stations [m], upwards from the zero of z; above the mesh, not on it.
        components: of "total" (the total-field anomaly), "east", "north", "down".
        dtype: precision in which the kernel's spectra are held.
    """

    references: ClassVar[tuple[str, ...]] = (BLAKELY,)

    def __init__(
        self,
        domain: Space,
        magnetised: Magnetised,
        y: ArrayLike | None = None,
        x: ArrayLike | None = None,
        height: float = 0.0,
        components: tuple[str, ...] = (TOTAL,),
        dtype: torch.dtype = torch.float64,
    ) -> None:
        kernel = magnetised.weights(components)
        codomain = level_space("magnetic_anomaly", "nT", domain, y, x, () if components == (TOTAL,) else components)
        super().__init__(domain, magnetised.unit, kernel, codomain, height, touch=False, dtype=dtype)

    @staticmethod
    def example() -> Magnetics:
        """All components with remanence, on a grid of its own."""
        magnetised = Magnetised(Direction(-62.0, -14.0), 28500.0, Direction(20.0, 130.0), 0.7)
        return Magnetics(example_mesh(), magnetised, y=40.0 * np.arange(3), height=10.0, components=COMPONENTS)


class ScatteredMagnetics(StationField):
    """The magnetic anomaly [nT] at stations anywhere outside a mesh of susceptibilities or magnetisations.

    Args:
        domain, magnetised, components: as for :class:`Magnetics`.
        easting, northing: of the stations [m].
        height: of the stations [m], upwards from the zero of z; none touches the top of a cell.
        labels: of the stations; 0, 1, … without.
        beyond: how far [m] a station may lie outside the mesh sideways.
        keep: whether to keep the kernel or to make its rows anew at each product; kept up to 1 GiB without.
    """

    references: ClassVar[tuple[str, ...]] = (BLAKELY,)

    def __init__(
        self,
        domain: Space,
        magnetised: Magnetised,
        easting: ArrayLike,
        northing: ArrayLike,
        height: ArrayLike,
        components: tuple[str, ...] = (TOTAL,),
        labels: ArrayLike | None = None,
        beyond: float = 0.0,
        keep: bool | None = None,
    ) -> None:
        kernel = magnetised.weights(components)
        stations = placed(domain, easting, northing, height, beyond, touch=False)
        codomain = station_space("magnetic_anomaly", "nT", stations, labels)
        if components != (TOTAL,):
            codomain = with_components(codomain, components)
        super().__init__(domain, magnetised.unit, kernel, codomain, stations, keep)

    @staticmethod
    def example() -> ScatteredMagnetics:
        """The total-field anomaly of induced magnetisation at three stations."""
        place = ([20.0, 170.0, 55.5], [10.0, 90.0, 61.0], [2.0, 3.0, 40.0])
        return ScatteredMagnetics(example_mesh(), Magnetised(Direction(60.0, 5.0), 50000.0), *place)


def example_mesh() -> Space:
    """24 cells of unequal layers."""
    return mesh("susceptibility", "1", z=[0.0, 30.0, 80.0], y=np.arange(4) * 40.0, x=np.arange(5) * 50.0)
