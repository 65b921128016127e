"""Rigid molecules by their centres and orientations: positions that keep every distance by construction."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.physics.pair_potential import positions

TURN = 4


class RigidBodies(TorchOperator):
    """Centres and quaternions of molecules → positions of their atoms, (*batch, 7 m) → (*batch, m a, 3).

    A quaternion of any length but zero stands for the rotation of its direction. Where its four numbers are standard
    normal, the rotation is uniform; the volume element of the surface of rigid positions is then that of the centres
    times that of the rotations, the same everywhere (its Gram determinant depends on the shape alone).

    Args:
        molecules: m.
        shape: positions (a, 3) of the atoms of one molecule; its mean becomes the centre.
        unit: of lengths.

    Raises:
        OptionError: no molecule.
        ShapeError: fewer than two atoms, or atoms that coincide.
    """

    def __init__(self, molecules: int, shape: Tensor, unit: str = "1") -> None:
        super().__init__()
        if molecules < 1:
            raise OptionError(f"molecules={molecules}: at least one.")
        if shape.ndim != 2 or shape.shape[0] < 2 or shape.shape[1] != 3:
            raise ShapeError(f"a molecule is (atoms, 3) with at least two atoms; {tuple(shape.shape)} was given.")
        if not float(torch.pdist(shape.double()).min()) > 0:
            raise ShapeError("two atoms of the molecule are in one place.")
        self.molecules = molecules
        self.domain = Space.of(
            centre=Space("centre", {"molecule": molecules, "axis": ["x", "y", "z"]}, unit),
            turn=Space("turn", {"molecule": molecules, "component": TURN}),
        )
        self.codomain = positions(molecules * len(shape), 3, unit)
        self.register_buffer("atoms", (shape - shape.mean(0)).double())
        self.atoms: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """Positions of all atoms, molecule after molecule."""
        centre = m[..., : 3 * self.molecules].unflatten(-1, (self.molecules, 3))
        turn = rotation(m[..., 3 * self.molecules :].unflatten(-1, (self.molecules, TURN)))
        return (centre[..., None, :] + self.atoms.to(m) @ turn.mT).flatten(-3, -2)

    @staticmethod
    def example() -> RigidBodies:
        """Two bent molecules of three atoms."""
        return RigidBodies(2, torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.2, 0.0]], dtype=torch.float64))


def rotation(q: Tensor) -> Tensor:
    """Rotation matrices (*batch, 3, 3) of quaternions (*batch, 4) of any length."""
    w, x, y, z = (q / q.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
