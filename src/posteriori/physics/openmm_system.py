"""Any OpenMM system as an energy with forces."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from posteriori.core.errors import DataError, OptionError
from posteriori.core.operator import Operator
from posteriori.core.optional import require
from posteriori.core.random import Rng
from posteriori.core.space import Space

AXES = ("x", "y", "z")
AWAY = 3e-3
"""How far [nm] atoms are moved before forces are checked: at a minimum there are none to check."""
STEP = 1e-5
"""Distance [nm] of the two energies whose difference a force is held against."""
FORCE_TOLERANCE = 1e-3
"""Largest disagreement of forces and energy differences, as a share of the forces; single precision stays below."""


class OpenMMSystem(Operator):
    """U [kJ/mol] of positions [nm], (*batch, particle, axis) → (*batch,), by OpenMM; ``vjp`` gives minus the forces.

    One frame at a time, whatever the batch: for small molecules in vacuum
    :class:`~posteriori.physics.molecular_mechanics.MolecularMechanics` is some seven times faster.

    Args:
        system: the system serialised as XML; an OpenMM ``System`` is taken too.
        platform: "Reference" (float64; best in vacuum) or "CPU" (mixed precision, one thread; best with implicit
            solvent or many atoms).

    Raises:
        DataError: the text is no system, or it has no particles.
        OptionError: a platform that OpenMM does not have.

    Reference: Eastman et al. (2024), OpenMM 8: molecular dynamics simulation with machine learning potentials,
    J. Phys. Chem. B 128, 109.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Eastman et al. (2024), OpenMM 8: molecular dynamics simulation with machine learning potentials, "
        "J. Phys. Chem. B 128, 109.",
    )

    def __init__(self, system: Any, platform: str = "Reference") -> None:
        super().__init__()
        mm = require("openmm", "molecules")
        known = [mm.Platform.getPlatform(i).getName() for i in range(mm.Platform.getNumPlatforms())]
        if platform not in known:
            raise OptionError(f"platform {platform!r} is not here; OpenMM has {', '.join(known)}.")
        self.xml = system if isinstance(system, str) else mm.XmlSerializer.serialize(system)
        self.platform = platform
        self._context: Any = None
        particles = _system(self.xml).getNumParticles()
        if particles < 1:
            raise DataError("the OpenMM system has no particles; give one with at least one atom.")
        self.domain = Space("position", {"particle": particles, "axis": list(AXES)}, "nm")
        self.codomain = Space("energy", unit="kJ/mol")

    def forward(self, m: Tensor) -> Tensor:
        """U of each configuration."""
        return self._both(m, forces=False)[0]

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """∇U · v."""
        return (self._both(m, forces=True)[1] * v).sum((-2, -1))

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        """r ∇U: minus the forces [kJ/mol/nm], times r."""
        return r[..., None, None] * self._both(m, forces=True)[1]

    def check(self, x: Tensor, rng: Rng) -> None:
        """Hold the forces near positions (particle, axis) [nm] against differences of the energy.

        Raises:
            DataError: the energy or a force is not finite there, or they disagree.
        """
        x = self.domain.check(x.double(), "positions")
        x = x + AWAY * rng.normal(x.shape)
        energy = float(self.forward(x))
        v = rng.normal(x.shape)
        v = v / v.norm()
        slope = float(self.jvp(x, v))
        size = float(self._both(x, forces=True)[1].norm())
        if not (isfinite(energy) and isfinite(size)):
            raise DataError(
                f"energy {energy:g} kJ/mol, forces of size {size:g} kJ/mol/nm: not finite; atoms may lie on top of "
                "each other. Check the positions, their unit [nm] and the order of atoms."
            )
        step = STEP if self.platform == "Reference" else 100 * STEP
        difference = float(self.forward(x + step * v) - self.forward(x - step * v)) / (2 * step)
        if abs(difference - slope) > FORCE_TOLERANCE * max(size, 1.0):
            raise DataError(
                f"forces disagree with the energy: along one direction the energy rises by {difference:.6g} kJ/mol/nm, "
                f"the forces say {slope:.6g}; a custom force of the system is not the gradient of its energy."
            )

    def _both(self, m: Tensor, forces: bool) -> tuple[Tensor, Tensor]:
        frames = self.domain.flat(m).detach().double().cpu().numpy().reshape(-1, *self.domain.shape)
        u, g = np.empty(len(frames)), np.zeros(frames.shape)
        context = self._opened()
        for i, frame in enumerate(frames):
            if not np.isfinite(frame).all():
                u[i], g[i] = np.nan, np.nan
                continue
            context.setPositions(frame)
            state = context.getState(getEnergy=True, getForces=forces)
            u[i] = state.getPotentialEnergy()._value
            if forces:
                g[i] = -state.getForces(asNumpy=True)._value
        return torch.from_numpy(u).to(m).reshape(m.shape[:-2]), torch.from_numpy(g).to(m).reshape(m.shape)

    def _opened(self) -> Any:
        if self._context is None:
            mm = require("openmm", "molecules")
            place = mm.Platform.getPlatformByName(self.platform)
            settings = {"Threads": "1"} if self.platform == "CPU" else {}
            self._context = mm.Context(_system(self.xml), mm.VerletIntegrator(0.001), place, settings)
        return self._context

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_context": None}

    @staticmethod
    def read(path: Path, platform: str = "Reference") -> OpenMMSystem:
        """The system of a serialised OpenMM XML file.

        Raises:
            DataError: the file is missing or no system.
        """
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read ({error}); give an OpenMM System as XML.") from error
        return OpenMMSystem(text, platform)

    @staticmethod
    def example() -> OpenMMSystem:
        """Three atoms: two bonds and an angle."""
        mm = require("openmm", "molecules")
        system, bonds, angles = mm.System(), mm.HarmonicBondForce(), mm.HarmonicAngleForce()
        for mass in (1.0, 16.0, 1.0):
            system.addParticle(mass)
        bonds.addBond(0, 1, 0.1, 100.0)
        bonds.addBond(1, 2, 0.1, 100.0)
        angles.addAngle(0, 1, 2, 1.8, 40.0)
        system.addForce(bonds)
        system.addForce(angles)
        return OpenMMSystem(system)


def _system(xml: str) -> Any:
    mm = require("openmm", "molecules")
    try:
        found = mm.XmlSerializer.deserialize(xml)
    except Exception as error:  # OpenMM raises plain Exceptions of its parser
        raise DataError(f"the text is no OpenMM System ({error}); write one with XmlSerializer.serialize.") from error
    if not isinstance(found, mm.System):
        raise DataError(f"the XML holds a {type(found).__name__}, not a System; serialise the System.")
    return found
