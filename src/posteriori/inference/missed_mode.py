"""The missed-mode test: does an independent, wider answer put weight where the first one has no row?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, ShapeError

NEIGHBOURS = 2000
"""Rows of each answer that are compared, at most."""


@dataclass(frozen=True)
class Missed:
    """Share of the event's weight that the first answer does not reach.

    Attributes:
        share: estimated from the wider answer.
        error: its standard error.
    """

    share: float
    error: float

    @property
    def found(self) -> bool:
        """Whether more than a hundredth is missed, and by more than three standard errors."""
        return self.share > 0.01 and self.share > 3 * self.error


def missed_mode(answer: Draws, wider: Draws, factor: float = 3.0) -> Missed:
    """Weight of the ``wider`` answer's rows that lie farther from every row of ``answer`` than those from each other.

    Rows are drawn by weight and scaled by the spread of the wider answer; "farther" is ``factor`` times the 99 % point
    of the distance from a row of the answer to its nearest neighbour.

    Raises:
        ShapeError: answers of two Spaces.
        OptionError: a factor that is not positive.
    """
    if not answer.space.same(wider.space):
        raise ShapeError(f"the answers speak of {answer.space} and of {wider.space}.")
    if not factor > 0:
        raise OptionError(f"factor={factor:g} must be positive.")
    scale = wider.space.flat(wider.spread()).clamp_min(1e-300)
    mine, other = _rows(answer, scale), _rows(wider, scale)
    own = torch.cdist(mine[0], mine[0])
    own.fill_diagonal_(torch.inf)
    reach = factor * float(own.amin(1).quantile(0.99))
    outside = (torch.cdist(other[0], mine[0]).amin(1) > reach).double()
    weights = other[1]
    share = float((weights * outside).sum())
    return Missed(share, float((weights * (outside - share)).square().sum().sqrt()))


def _rows(answer: Draws, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The heaviest-to-lightest distinct rows in the event, scaled, and their weights, which sum to one."""
    weights = answer.weights.expand(len(answer.values))
    inside = (weights > 0).nonzero()[:, 0]
    if len(inside) > NEIGHBOURS:
        inside = inside[torch.linspace(0, len(inside) - 1, NEIGHBOURS).long()]
    rows = answer.space.flat(answer.values)[inside].double() / scale
    return rows, weights[inside] / weights[inside].sum()
