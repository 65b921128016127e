"""The internal coordinates of alanine dipeptide, sorted by what they do: the surface, the methyl groups, the rest.

The hydrogens of a methyl group are alike: turning their labels round changes no energy. Each frame is therefore folded
to the one labelling whose mean methyl torsion lies in [0, 120°), and drawn frames are unfolded at random. Odd
permutations, like D-alanine, lie behind barriers that no bond survives, and count as other molecules.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import torch
from torch import Tensor

from posteriori.core.random import Rng
from posteriori.domains.molecules.alanine import METHYLS, ZMATRIX

THIRD = 2 * pi / 3
N = ZMATRIX.atoms
FOLDS = 3 ** len(METHYLS)
"""Labellings that are alike."""
ORDER = 3
"""Harmonics of φ and ψ among the features."""
_ROW = {row[0]: k for k, row in enumerate(ZMATRIX.rows)}


def bond(atom: int) -> int:
    """The column of an atom's bond in 60 internal coordinates."""
    return _ROW[atom] - 1


def angle(atom: int) -> int:
    """The column of its angle."""
    return N - 1 + _ROW[atom] - 2


def torsion(atom: int) -> int:
    """The column of its torsion."""
    return 2 * N - 3 + _ROW[atom] - 3


SURFACE_COLUMNS = [torsion(4), torsion(16)]
METHYL_COLUMNS = [torsion(first) for first in METHYLS]
TORSIONS = [torsion(row[0]) for row in ZMATRIX.rows[3:]]
STIFF_TORSIONS = [k for k in TORSIONS if k not in SURFACE_COLUMNS + METHYL_COLUMNS]
STIFF = STIFF_TORSIONS + list(range(N - 1, 2 * N - 3)) + list(range(N - 1))
"""Columns of the stiff coordinates: torsions, angles, bonds."""


def wrapped(t: Tensor) -> Tensor:
    """Angles in [-π, π)."""
    return torch.remainder(t + pi, 2 * pi) - pi


def sheared(m: Tensor) -> Tensor:
    """Internal coordinates (*batch, 60) with methyl groups told by their mean torsion and two small deviations."""
    m = m.clone()
    for first, second, third in METHYLS.values():
        a, b, c = (torsion(k) for k in (first, second, third))
        m[..., b], m[..., c] = wrapped(m[..., b] - THIRD), wrapped(m[..., c] + THIRD)
        m[..., a] = wrapped(m[..., a] + (m[..., b] + m[..., c]) / 3)
    return m


def plain(m: Tensor) -> Tensor:
    """The inverse of :func:`sheared`."""
    m = m.clone()
    for first, second, third in METHYLS.values():
        a, b, c = (torsion(k) for k in (first, second, third))
        m[..., a] = wrapped(m[..., a] - (m[..., b] + m[..., c]) / 3)
        m[..., b], m[..., c] = wrapped(m[..., b] + THIRD), wrapped(m[..., c] - THIRD)
    return m


def folded(m: Tensor) -> Tensor:
    """Sheared coordinates with the labels of each methyl group turned until its mean torsion lies in [0, 120°)."""
    for group in METHYLS.values():
        third = torch.floor(torch.remainder(m[..., torsion(group[0])], 2 * pi) / THIRD).clamp(0, 2)
        m = _turned(m, group, torch.remainder(-third, 3))
    return m


def unfolded(m: Tensor, rng: Rng) -> Tensor:
    """Sheared coordinates with labels turned at random, each of the 27 ways alike."""
    for group in METHYLS.values():
        m = _turned(m, group, rng.integers(3, m.shape[:-1]).to(m))
    return m


def _turned(m: Tensor, group: tuple[int, int, int], times: Tensor) -> Tensor:
    """Labels 1, 2, 3 of a group become 2, 3, 1 ``times`` times: its torsion grows by 120° each time."""
    for k in (1, 2):
        once = m.clone()
        for column in (bond, angle):
            here = [column(atom) for atom in group]
            once[..., here] = m[..., here[1:] + here[:1]]
        a, b, c = (torsion(atom) for atom in group)
        once[..., a] = wrapped(m[..., a] + THIRD)
        once[..., b], once[..., c] = m[..., c] - m[..., b], -m[..., b]
        m = torch.where((times >= k)[..., None], once, m)
    return m


def surface_features(surface: Tensor) -> Tensor:
    """cos and sin of m φ + n ψ up to third order, (*batch, 48), of (φ, ψ) (*batch, 2)."""
    waves = [(m, n) for m in range(ORDER + 1) for n in range(-ORDER, ORDER + 1) if (m, n) > (0, 0)]
    phases = surface @ torch.tensor(waves, dtype=surface.dtype).mT
    return torch.cat([phases.cos(), phases.sin()], -1)


def methyl_features(methyl: Tensor) -> Tensor:
    """What tells three folded methyl torsions, (*batch, 15)."""
    parts: list[Callable[[Tensor], Tensor]] = [torch.cos, torch.sin, lambda t: (3 * t).cos(), lambda t: (3 * t).sin()]
    return torch.cat([part(methyl) for part in parts] + [methyl / THIRD - 0.5], -1)
