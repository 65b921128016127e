"""Candidates that are sets of data taken together: a shot with all its receivers, a station with all its periods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.algebra import Dense
from posteriori.core.errors import ShapeError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Noise, Normal
from posteriori.core.operator import Operator
from posteriori.core.space import Space
from posteriori.decide.closed_form import FallingVariance, GrowingInformation, closed_form
from posteriori.decide.goals import Goal
from posteriori.decide.rule import Rule


@dataclass(frozen=True)
class Groups:
    """The data of a Space by their label along one dim.

    Attributes:
        space: one cell for each label.
        cells: the flat positions of the data of each label, gaps left out.
    """

    space: Space
    cells: tuple[Tensor, ...]

    @staticmethod
    def along(codomain: Space, dim: str) -> Groups:
        """The groups of ``dim``.

        Raises:
            ShapeError: the Space has no such dim, or a group holds nothing but gaps.
        """
        labels = codomain.labels(dim)
        extra = {key: held for key, held in codomain.extra.items() if held[0] == dim}
        axis = codomain.dims.index(dim)
        cells = torch.arange(codomain.size).reshape(codomain.shape).movedim(axis, 0).reshape(len(labels), -1)
        kept = torch.ones(codomain.size, dtype=torch.bool) if codomain.mask is None else codomain.flat(codomain.mask)
        groups = tuple(row[kept[row]] for row in cells)
        for label, group in zip(labels, groups, strict=True):
            if not len(group):
                raise ShapeError(f"the candidate {dim} = {label} of {codomain} holds only gaps; select the others.")
        return Groups(Space(codomain.name, {dim: labels}, codomain.unit, extra=extra), groups)


def closed_form_of_groups(posterior: Gaussian, candidates: Operator, noise: Noise, goal: Goal, groups: Groups) -> Rule:
    """The exact rule for groups observed whole.

    Where errors are independent, each group is whitened and, when it has more data than the posterior has cells, put
    into as many by a QR factor: RᵀR = JᵀR⁻¹J tells the same. Each group taken is one block downdate.
    """
    blocks, cells, at = [], [], 0
    like = posterior.covariance.like
    (dim,) = groups.space.dims
    for label, whole in zip(groups.space.labels(dim), groups.cells, strict=True):
        part = candidates.select(dim, [label])
        rows = part.rows(like)
        if part.codomain.mask is not None:
            rows = rows[part.codomain.flat(part.codomain.mask)]
        if isinstance(noise, Normal):
            rows = rows / noise.part(whole).variance(len(whole)).sqrt().to(rows)[:, None]
            if len(rows) > rows.shape[1]:
                rows = torch.linalg.qr(rows, mode="r").R
        blocks.append(rows)
        cells.append(torch.arange(at, at + len(rows)))
        at += len(rows)
    memory.require(4 * 8 * at**2, f"a covariance of {at} data", "offer fewer candidates, or a coarser unknown")
    data = Space(candidates.codomain.name, {"datum": at})
    errors: Noise = Normal(1.0) if isinstance(noise, Normal) else noise.part(torch.cat(groups.cells))
    rule = closed_form(posterior, Dense(candidates.domain, data, torch.cat(blocks)), errors, goal)
    return _Together(rule, cells)


class _Together:
    """A rule for cells as one for groups of cells."""

    def __init__(self, rule: FallingVariance | GrowingInformation, cells: Sequence[Tensor]) -> None:
        self.rule, self.cells = rule, cells
        self.taken: set[int] = set()

    def gains(self) -> tuple[Tensor, Tensor]:
        gain = torch.zeros(len(self.cells), dtype=torch.float64)
        for i in set(range(len(self.cells))) - self.taken:
            gain[i] = self.rule.gain_together(self.cells[i])
        return gain, torch.zeros_like(gain)

    def take(self, index: int) -> None:
        self.rule.take_together(self.cells[index])
        self.taken.add(index)
