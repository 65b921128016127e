"""Distances between particles that are kept: bonds, rigid molecules."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.physics.pair_potential import positions


class FixedDistances(TorchOperator):
    """(|x_i - x_j|² - d²) / (2 d) of chosen pairs, (*batch, particle, axis) → (*batch, pair), in the unit of length.

    Zero where the distance is d, and near it |x_i - x_j| - d.

    Args:
        domain: the positions, dims (particle, axis).
        pairs: which particles, (i, j) by position.
        lengths: d of each pair, in the unit of ``domain``.

    Raises:
        OptionError: a length that is not positive, a particle that is not there, a pair with itself or given twice, or
            three lengths that make no triangle.
        ShapeError: as many lengths as pairs are needed.
    """

    def __init__(self, domain: Space, pairs: Sequence[tuple[int, int]], lengths: Sequence[float]) -> None:
        super().__init__()
        if len(domain.shape) != 2:
            raise ShapeError(f"{domain} is no set of positions; give a Space with the dims (particle, axis).")
        _check(domain.shape[0], pairs, lengths)
        self.domain = domain
        self.codomain = Space("constraint", {"pair": [f"{i}-{j}" for i, j in pairs]}, domain.unit)
        self.register_buffer("first", torch.tensor([i for i, _ in pairs]))
        self.register_buffer("second", torch.tensor([j for _, j in pairs]))
        self.register_buffer("lengths", torch.tensor([float(d) for d in lengths], dtype=torch.float64))
        self.first: Tensor
        self.second: Tensor
        ends = torch.zeros(len(pairs), domain.shape[0])
        ends[torch.arange(len(pairs)), self.first] = 1.0
        ends[torch.arange(len(pairs)), self.second] = -1.0
        self.register_buffer("ends", ends)
        self.ends: Tensor
        self.lengths: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """How far each pair is from its length."""
        d = self.lengths.to(m)
        return ((m[..., self.first, :] - m[..., self.second, :]).square().sum(-1) - d.square()) / (2 * d)

    def jacobian(self, x: Tensor) -> Tensor:
        """J (*batch, pair, particle · axis), differentiable."""
        apart = (x[..., self.first, :] - x[..., self.second, :]) / self.lengths.to(x)[:, None]
        return (self.ends.to(x)[..., None] * apart[..., None, :]).flatten(-2)

    @staticmethod
    def example() -> FixedDistances:
        """Two bonds of three particles."""
        return FixedDistances(positions(3, 3), [(0, 1), (1, 2)], [1.0, 1.5])


def _check(particles: int, pairs: Sequence[tuple[int, int]], lengths: Sequence[float]) -> None:
    if len(pairs) != len(lengths) or not pairs:
        raise ShapeError(f"{len(lengths)} lengths for {len(pairs)} pairs; give one for each, and at least one.")
    known: dict[frozenset[int], float] = {}
    for (i, j), d in zip(pairs, lengths, strict=True):
        if not (0 <= i < particles and 0 <= j < particles) or i == j:
            raise OptionError(
                f"the pair ({i}, {j}) is not two different ones of {particles} particles, counted from 0."
            )
        if not 0 < d < float("inf"):
            raise OptionError(f"the length {d:g} of the pair ({i}, {j}) must be positive and finite.")
        if frozenset((i, j)) in known:
            raise OptionError(f"the pair ({i}, {j}) is given twice; one length fixes it.")
        known[frozenset((i, j))] = float(d)
    for pair, d in known.items():
        i, j = sorted(pair)
        for k in range(particles):
            sides = [known.get(frozenset(side)) for side in ((i, k), (j, k))]
            if sides[0] is not None and sides[1] is not None and sides[0] + sides[1] < d:
                raise OptionError(
                    f"lengths {d:g} of ({i}, {j}), {sides[0]:g} of ({i}, {k}) and {sides[1]:g} of ({j}, {k}) make no "
                    "triangle; correct one."
                )
