"""Has a generator learnt its fields by heart? Nearest training neighbours of what it makes, and of held-out fields.

Fields are flat anomalies, (n, cell), scaled so that the distance between two of them means something.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from posteriori.audit.estimate import block_sums, finite
from posteriori.core.errors import DataError, ShapeError

LEVEL = 0.01
LEAST = 1e-12


@dataclass(frozen=True)
class Memorisation:
    """What nearest training neighbours say.

    Attributes:
        nearest: position of the nearest training field of each generated one, (n,).
        distance: to it, (n,).
        isolation: that distance over the one to the nearest field of *another* training block, (n,): near 1 for a new
            field, near 0 for a copy, for whatever law the fields have.
        held_isolation: the same of held-out fields, what fair fields give.
        ratio: median distance of generated fields to training over that to held-out fields, each to as many.
        p_value: of the hypothesis that generated fields are no more isolated than held-out ones.
        copies: generated fields whose isolation alone gives the hypothesis up at 1 % for all of them together.
    """

    nearest: Tensor
    distance: Tensor
    isolation: Tensor
    held_isolation: Tensor
    ratio: float
    p_value: float
    copies: Tensor

    @property
    def flagged(self) -> bool:
        """Whether the test gives the hypothesis up at 1 %."""
        return self.p_value < LEVEL


def memorisation(generated: Tensor, train: Tensor, held: Tensor, blocks: Tensor, held_blocks: Tensor) -> Memorisation:
    """Test of copies among ``generated`` (n, cell), against what held-out fields (m, cell) show.

    ``blocks`` label the training fields and ``held_blocks`` the held-out ones (days, regions): within a block fields
    resemble one another. Two tests of the isolation, joined by Bonferroni's rule: each generated field by itself, minus
    the logarithm of its isolation over the mean of held-out fields, which is exponential for a smooth law in any number
    of dimensions; and the share of pairs in which a generated field is less isolated than a held-out one, with its
    error over blocks.

    Raises:
        DataError: fewer than two training blocks or four held-out ones, or a field that is not finite.
        ShapeError: fields of different cells, or labels that do not fit.
    """
    if not generated.shape[1:] == train.shape[1:] == held.shape[1:] or generated.ndim != 2:
        raise ShapeError(f"fields {tuple(generated.shape)}, {tuple(train.shape)}, {tuple(held.shape)}: not (n, cell).")
    if len(blocks) != len(train) or len(held_blocks) != len(held):
        raise ShapeError(f"{len(blocks)} and {len(held_blocks)} labels for {len(train)} and {len(held)} fields.")
    many = len(torch.unique(held_blocks))
    if len(torch.unique(blocks)) < 2 or many < 4:
        raise DataError(
            f"{len(torch.unique(blocks))} training and {many} held-out blocks: at least 2 and 4 are needed."
        )
    generated, train, held = (
        finite(fields, name) for fields, name in ((generated, "generated"), (train, "train"), (held, "held"))
    )
    distance, nearest, isolation = _isolation(generated, train, blocks)
    _, _, control = _isolation(held, train, blocks)
    fair, found = control.clamp(min=LEAST).log(), isolation.clamp(min=LEAST).log()
    single = _single(found, fair, many)
    p = min(1.0, 2 * min(float(single.min()) * len(found), _nearer(found, fair, held_blocks, many)))
    return Memorisation(
        nearest, distance, isolation, control, _ratio(generated, train, held), p, single * len(found) < LEVEL
    )


def _isolation(fields: Tensor, train: Tensor, blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distance to and position of the nearest training field, and its share of that to the nearest other block."""
    distance = torch.cdist(fields, train)
    first, nearest = distance.min(1)
    other = distance.masked_fill(blocks[nearest][:, None] == blocks[None], torch.inf).min(1).values
    return first, nearest, first / other.clamp(min=1e-300)


def _single(found: Tensor, fair: Tensor, many: int) -> Tensor:
    """One-sided p-value of each generated field by itself, (n,).

    Of a smooth law near D dimensions, (nearest distance / that of another block)^D is uniform, so that minus the
    logarithm of the isolation is exponential; over its mean of held-out fields it follows F(2, 2 blocks).
    """
    excess = found / fair.mean().clamp(max=-1e-9)
    return torch.from_numpy(stats.f.sf(excess.numpy(), 2, 2 * many))


def _nearer(found: Tensor, fair: Tensor, blocks: Tensor, many: int) -> float:
    """p-value of the share of pairs in which a generated field is the nearer one, against one half.

    Reference: Meehan, Chaudhuri & Dasgupta (2020), a non-parametric test to detect data-copying in generative models.
    """
    wins = (found[:, None] < fair).double() + 0.5 * (found[:, None] == fair).double()
    over_held, over_found = wins.mean(0), wins.mean(1)
    share = wins.mean()
    sums = block_sums((over_held - share)[:, None], blocks)
    variance = sums.square().sum() * many / (many - 1) / len(fair) ** 2 + over_found.var() / len(found)
    t = (share - 0.5) / variance.sqrt().clamp(min=1e-9)
    return float(stats.t.sf(t.item(), many - 1))


def _ratio(generated: Tensor, train: Tensor, held: Tensor) -> float:
    """Median distance to training over that to held-out fields, each set thinned evenly to the size of the smaller."""
    n = min(len(train), len(held))
    sets = [part[torch.linspace(0, len(part) - 1, n).round().long()] for part in (train, held)]
    near = [torch.cdist(generated, part).min(1).values.median() for part in sets]
    return (near[0] / near[1]).item()
