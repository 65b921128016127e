"""Bonds, angles and torsions of a molecule, and the positions they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from posteriori.core.errors import DataError, OptionError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.core.support import Circular, Interval, Positive

AXES = ("x", "y", "z")
LEAST_SINE = 1e-6
"""Three atoms whose angle has a smaller sine stand in a line: a torsion about them means nothing."""


@dataclass(frozen=True)
class ZMatrix:
    """In which order atoms are placed, and with respect to which.

    Attributes:
        rows: ``(atom, bonded, angled, twisted)`` for each atom: its distance to ``bonded``, its angle with ``angled``
            at ``bonded``, and the torsion atom-bonded-angled-twisted. The first three rows name no one (-1) where
            there is no such atom yet.

    Raises:
        OptionError: an atom that is missing, named twice or placed before those it refers to.
    """

    rows: tuple[tuple[int, int, int, int], ...]

    def __post_init__(self) -> None:
        placed: list[int] = []
        for k, (atom, *others) in enumerate(self.rows):
            named = others[: min(k, 3)]
            if atom in placed or len(set(named)) != len(named) or not set(named) <= set(placed):
                raise OptionError(
                    f"row {k} of the Z-matrix, {self.rows[k]}, must place a new atom by {len(named)} placed before it."
                )
            placed.append(atom)
        if sorted(placed) != list(range(len(self.rows))) or len(placed) < 3:
            raise OptionError(
                f"a Z-matrix places the atoms 0 … n-1, at least three, once each; given {sorted(placed)}."
            )

    @property
    def atoms(self) -> int:
        """How many."""
        return len(self.rows)

    @staticmethod
    def of_bonds(bonds: Sequence[tuple[int, int]], chain: tuple[int, int, int]) -> ZMatrix:
        """The tree that grows from the three bonded atoms ``chain``: one proper torsion for each axis of rotation.

        The first atom on an axis is placed by a proper torsion; the others on the same axis relative to it, by
        torsions that stay near one value.

        Raises:
            OptionError: atoms that no bond joins to the chain, or a chain that is not bonded.
        """
        near: dict[int, list[int]] = {}
        for a, b in bonds:
            near.setdefault(a, []).append(b)
            near.setdefault(b, []).append(a)
        first, middle, last = chain
        if middle not in near.get(first, []) or last not in near.get(middle, []):
            raise OptionError(f"the atoms {chain} are not bonded one to the next; choose three in a row.")
        rows = [(first, -1, -1, -1), (middle, first, -1, -1), (last, middle, first, -1)]
        parents = {first: middle, middle: first, last: middle}
        waiting = [first, last, middle]
        while waiting:
            centre = waiting.pop(0)
            angled = parents[centre]
            placed = {row[0] for row in rows}
            children = sorted((k for k in near[centre] if k not in placed), key=lambda k: (len(near[k]) == 1, k))
            twisted = next((k for k in near[centre] if k in placed and k != angled), None)
            for child in children:
                about = twisted
                if about is None:
                    about = max((k for k in near[angled] if k in placed and k != centre), key=lambda k: len(near[k]))
                    twisted = child
                rows.append((child, centre, angled, about))
                parents[child] = centre
                waiting.append(child)
        lost = set(near) - {row[0] for row in rows}
        if lost:
            raise OptionError(
                f"no bonds join the atoms {sorted(lost)} to {chain}: a disconnected chain has no Z-matrix."
            )
        return ZMatrix(tuple(rows))

    def levels(self) -> list[Tensor]:
        """Rows from the fourth on (row, atom, bonded, angled, twisted) that can be placed at once, in order."""
        depth = {row[0]: 0 for row in self.rows[:3]}
        groups: dict[int, list[tuple[int, ...]]] = {}
        for k, row in enumerate(self.rows[3:], 3):
            depth[row[0]] = 1 + max(depth[a] for a in row[1:])
            groups.setdefault(depth[row[0]], []).append((k, *row))
        return [torch.tensor(groups[d]) for d in sorted(groups)]


class InternalCoordinates(TorchOperator):
    """Bonds [nm], angles and torsions [rad] → positions [nm], (*batch, 3n - 6) → (*batch, atom, axis).

    The domain is the joined Space of ``bond``, ``angle`` and ``torsion``, each in the order of the Z-matrix's rows;
    torsions are circular. The first atom stands at the origin, the second on the x axis, the third in the x, y plane.
    The signs of torsions fix the handedness of every centre: a mirror image is another point, never the same.

    Args:
        zmatrix: how atoms are placed.
        fixed: lengths [nm] of bonds that do not vary, by the atom that the bond places; they leave the domain.

    Raises:
        OptionError: a fixed length that is not positive, or of an atom that no bond places.

    Reference: Parsons, Holmes, Rojas, Tsai & Strauss (2005), Practical conversion from torsion space to Cartesian space
    for in silico protein synthesis, J. Comput. Chem. 26, 1063.
    """

    def __init__(self, zmatrix: ZMatrix, fixed: Mapping[int, float] | None = None) -> None:
        super().__init__()
        fixed = dict(fixed or {})
        placed = [row[0] for row in zmatrix.rows]
        if not set(fixed) <= set(placed[1:]) or any(not length > 0 for length in fixed.values()):
            raise OptionError(f"fixed bonds {fixed}: give positive lengths [nm] of bonds that place {placed[1:]}.")
        n = zmatrix.atoms
        self.zmatrix, self.fixed = zmatrix, fixed
        free = [k for k, atom in enumerate(placed[1:]) if atom not in fixed]
        bonds = Space("bond", {"atom": [placed[k + 1] for k in free]}, "nm", Positive())
        angles = Space("angle", {"atom": placed[2:]}, "radian", Interval(0.0, pi))
        torsions = Space("torsion", {"atom": placed[3:]}, "radian", Circular(2 * pi))
        parts = {"bond": bonds, "angle": angles, "torsion": torsions}
        self.domain = Space.of(**{name: part for name, part in parts.items() if part.size})
        self.codomain = Space("position", {"particle": n, "axis": list(AXES)}, "nm")
        self.register_buffer("free", torch.tensor(free, dtype=torch.int64))
        lengths = torch.tensor([fixed.get(atom, 0.0) for atom in placed[1:]], dtype=torch.float64)
        self.register_buffer("lengths", lengths)
        self.free: Tensor
        self.lengths: Tensor
        self.levels = zmatrix.levels()
        self.order = torch.tensor(zmatrix.rows)
        self.place = torch.tensor(placed).argsort()

    def forward(self, m: Tensor) -> Tensor:
        """The positions."""
        bond, angle, torsion = self.split(m)
        first = torch.zeros(*m.shape[:-1], 3, dtype=m.dtype, device=m.device)
        axis = first.new_tensor([1.0, 0.0, 0.0])
        second = first + bond[..., :1] * axis
        turn = torch.stack([angle[..., 0].cos(), angle[..., 0].sin(), torch.zeros_like(angle[..., 0])], -1)
        back = self.order[2, 1] == self.order[1, 0]
        third = (second - bond[..., 1:2] * turn * first.new_tensor([1, -1, 1])) if back else bond[..., 1:2] * turn
        atoms = [int(k) for k in self.order[:3, 0]]
        known = torch.stack([first, second, third], -2)
        for level in self.levels:
            where = torch.tensor([[atoms.index(int(a)) for a in row[2:]] for row in level])
            k = level[:, 0]
            b, a, t = (known[..., where[:, i], :] for i in range(3))
            known = torch.cat([known, _placed(b, a, t, bond[..., k - 1], angle[..., k - 2], torsion[..., k - 3])], -2)
            atoms += [int(a) for a in level[:, 1]]
        return known[..., torch.tensor(atoms).argsort(), :]

    def coordinates(self, x: Tensor) -> Tensor:
        """Bonds, angles and torsions of positions (*batch, atom, axis); torsions in (-π, π].

        Raises:
            DataError: positions that are not finite, atoms on top of each other or three in a line.
        """
        x = self.codomain.check(x, "positions")
        rows = self.order
        at = [x[..., rows[:, i].clamp_min(0), :] for i in range(4)]
        u, v, w = at[0] - at[1], at[2] - at[1], at[3] - at[2]
        bond = u[..., 1:, :].norm(dim=-1)
        cross = torch.linalg.cross(u[..., 2:, :], v[..., 2:, :]).norm(dim=-1)
        lengths = bond[..., 1:] * v[..., 2:, :].norm(dim=-1)
        normal = torch.linalg.cross(v[..., 3:, :], w[..., 3:, :])
        flat = normal.norm(dim=-1) <= LEAST_SINE * v[..., 3:, :].norm(dim=-1) * w[..., 3:, :].norm(dim=-1)
        if bool(flat.any()) or not bool((cross > LEAST_SINE * lengths).all()):
            raise DataError(
                "positions have no internal coordinates: they are not finite, two atoms lie on top of each other or "
                "three stand in a line; check the frame, its unit [nm] and the order of its atoms."
            )
        angle = torch.atan2(cross, (u[..., 2:, :] * v[..., 2:, :]).sum(-1))
        across = torch.linalg.cross(u[..., 3:, :], v[..., 3:, :])
        sine = -(u[..., 3:, :] * normal).sum(-1) * v[..., 3:, :].norm(dim=-1)
        torsion = torch.atan2(sine, -(across * normal).sum(-1))
        return torch.cat([bond[..., self.free], angle, torsion], -1)

    def log_jacobian(self, m: Tensor) -> Tensor:
        """log |d positions / d(m, place, orientation)| up to log 8π², float64 (*batch,): Σ 2 log bond + log sin angle.

        Fixed bonds count with their constant: the density is that of positions in a thin shell about them.
        """
        bond, angle, _ = self.split(m.double())
        return 2 * bond.abs().log().sum(-1) + angle.sin().abs().log().sum(-1)

    def split(self, m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All bonds (fixed ones too), angles and torsions, each (*batch, k)."""
        n = self.zmatrix.atoms
        free, angle, torsion = torch.split(m, [len(self.free), n - 2, n - 3], -1)
        bond = self.lengths.to(m).expand(*m.shape[:-1], n - 1)
        return bond.index_copy(-1, self.free, free) if len(self.free) else bond, angle, torsion

    @staticmethod
    def example() -> InternalCoordinates:
        """Hydrogen peroxide with a carbon on one side: five atoms, one bond fixed."""
        bonds = [(0, 1), (1, 2), (2, 3), (2, 4)]
        return InternalCoordinates(ZMatrix.of_bonds(bonds, (0, 1, 2)), {3: 0.1})


def _placed(b: Tensor, a: Tensor, t: Tensor, bond: Tensor, angle: Tensor, torsion: Tensor) -> Tensor:
    """The atom at ``bond`` from b, with ``angle`` to a and ``torsion`` about the axis b-a against t."""
    axis = b - a
    axis = axis / axis.norm(dim=-1, keepdim=True)
    normal = torch.linalg.cross(a - t, axis)
    normal = normal / normal.norm(dim=-1, keepdim=True)
    side = torch.linalg.cross(normal, axis)
    sine = bond * angle.sin()
    along, aside, up = -bond * angle.cos(), sine * torsion.cos(), sine * torsion.sin()
    return b + along[..., None] * axis + aside[..., None] * side + up[..., None] * normal
