"""Learners that guess hidden values of a lattice from the visible ones: one training for any net of a lattice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from posteriori.core.errors import DataError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.learn.fit import fit
from posteriori.learn.members import Predictions, Rows
from posteriori.learn.network import Scaling
from posteriori.learn.plan import Cosine, Plan

DEPTHS = (0, 0, 1, 1, 2, 3, 4)
"""Values hidden from an end of a row of the lattice, dealt at random."""
SCATTERED = 0.15
"""Share of the values hidden singly."""


class LatticeNet(nn.Module, ABC):
    """What a net of the whole lattice must do; ``k`` nets side by side."""

    @abstractmethod
    def forward(self, values: Tensor, visible: Tensor, features: Tensor) -> Tensor:
        """Values (b, k, m), zero where hidden, whether they are visible (b, k, m), features (m, f) → (b, k, m)."""

    @abstractmethod
    def roughness(self, said: Tensor) -> Tensor:
        """What is paid for a prediction (b, k, m) over all cells, measured or not, (b, k)."""


class LatticeArchitecture(Protocol):
    """The shape of a :class:`LatticeNet` before its lattice is known; picklable."""

    def __call__(self, at: Tensor, features: int, nets: int) -> LatticeNet:
        """New nets on lattice points (m, 2), their weights from torch's global generator."""


@dataclass(frozen=True)
class HiddenValues:
    """A net that is shown part of the measured values and learns to tell the others, so that it can tell all.

    The first two features are integer lattice points, and the cells hold every row. In each step other values are
    hidden: some singly, some as the ends of rows of the lattice, since the ends are where it will be asked. What a
    regression holds out is never shown to it. All cells take part, those without a value too.

    Args:
        net: the architecture.
        plan: how it is trained; one pattern of hidden values is one row.
        patterns: drawn once, of each epoch.
    """

    net: LatticeArchitecture
    plan: Plan = field(default_factory=lambda: Plan(epochs=8, batch=1, rate=6e-3, schedule=Cosine(0.1), clip=5.0))
    patterns: int = 24

    def __call__(self, rows: Rows, context: Context) -> Predictions:
        """All regressions, side by side.

        Raises:
            DataError: a row that is no cell.
        """
        at = rows.cells[:, :2].round().long()
        where = positions(rows.x[:, :2].round().long(), at)
        if bool((where == len(at)).any()):
            raise DataError(f"row {int((where == len(at)).nonzero()[0])} is none of the {len(at)} cells.")
        n, k = rows.y.shape
        shown = (rows.weight > 0).double()
        scale = ((shown * rows.y.square()).sum(0) / shown.sum(0)).sqrt().clamp_min(1e-300)
        with context.rng.child("initial"):
            inner = self.net(at, rows.x.shape[1], k)
        job = _Hidden(
            inner,
            where,
            (rows.y / scale).mT.float(),
            shown.mT.float(),
            (rows.variance[:, None] / scale.square()).mT.float(),
            Scaling.of(rows.x)(rows.cells).float(),
        )
        hide = hidden_patterns(at[where], self.patterns, context.rng.child("patterns"))
        trained = fit(job, _left_out, (hide.float(),), self.plan, context).net
        assert isinstance(trained, _Hidden)
        with torch.no_grad():
            said = trained(torch.zeros(1, n).to(hide.device))[0].double().cpu() * scale[:, None]
        mean = said[:, None]
        nothing = torch.zeros_like(mean)
        return Predictions(mean[..., where], mean, nothing[..., where], nothing)


class _Hidden(nn.Module):
    """A lattice net with the values that it may see."""

    def __init__(
        self, net: LatticeNet, where: Tensor, y: Tensor, shown: Tensor, variance: Tensor, features: Tensor
    ) -> None:
        super().__init__()
        self.net = net
        buffers = {"where": where, "y": y, "shown": shown, "variance": variance, "features": features}
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor, persistent=False)
        self.where: Tensor
        self.y: Tensor
        self.shown: Tensor
        self.variance: Tensor
        self.features: Tensor

    def forward(self, hide: Tensor) -> Tensor:
        """Predictions (b, k, m) where the values ``hide`` (b, n) of the rows are hidden."""
        visible = self.shown * (1 - hide)[:, None]
        cells = torch.zeros(*visible.shape[:2], len(self.features)).to(visible)
        seen = cells.index_copy(2, self.where, visible)
        said: Tensor = self.net(cells.index_copy(2, self.where, visible * self.y), seen, self.features)
        return said


def _left_out(net: nn.Module, *rows: Tensor) -> Tensor:
    """Squared error over the variance of what was hidden, beside a tenth of that of the rest, and the roughness."""
    (hide,) = rows
    assert isinstance(net, _Hidden)
    said = net(hide)
    asked = net.shown * (0.1 + 0.9 * hide)[:, None]
    gap = (said[..., net.where] - net.y).square() / net.variance
    error = (asked * gap).sum(-1) / asked.sum(-1).clamp_min(1.0)
    return (error + net.net.roughness(said)).sum(-1)


def hidden_patterns(at: Tensor, patterns: int, rng: Rng) -> Tensor:
    """Which of the lattice points (n, 2) are hidden, bool (patterns, n): single ones, and the ends of rows.

    A row of the lattice holds one second coordinate; its ends are where the first is smallest or largest.
    """
    hide = rng.uniform((patterns, len(at))) < SCATTERED
    row = at[:, 1] - at[:, 1].min()
    depth = torch.tensor(DEPTHS)[rng.integers(len(DEPTHS), (patterns, 2, int(row.max()) + 1))]
    for side, sign in enumerate((1, -1)):
        order = torch.argsort(row * 10_000 + sign * at[:, 0])
        start = torch.searchsorted(row[order].contiguous(), row)
        rank = torch.empty_like(row)
        rank[order] = torch.arange(len(row))
        hide |= (rank - start)[None] < depth[:, side][:, row]
    return hide


def positions(asked: Tensor, at: Tensor) -> Tensor:
    """Index in ``at`` (m, 2) of each integer lattice point ``asked`` (*, 2), m where it is none of them."""
    low = torch.minimum(asked.reshape(-1, 2).amin(0), at.amin(0))
    width = int(torch.maximum(asked.reshape(-1, 2).amax(0), at.amax(0))[1] - low[1]) + 1
    keys = (at - low) @ torch.tensor([width, 1])
    wanted = (asked - low) @ torch.tensor([width, 1])
    order = torch.argsort(keys)
    found = torch.searchsorted(keys[order].contiguous(), wanted).clamp_max(len(at) - 1)
    place = order[found]
    return torch.where(keys[place] == wanted, place, len(at))


def gathered(h: Tensor, index: Tensor) -> Tensor:
    """States (b, k, m, c) of the neighbours ``index`` (m, s), zero where there is none, (b, k, m, s, c)."""
    padded = torch.cat([h, torch.zeros_like(h[:, :, :1])], 2)
    return padded[:, :, index]


def neighbours(at: Tensor, steps: Sequence[tuple[int, int]]) -> Tensor:
    """Index of the lattice point at each step from each point, m where there is none, (m, s)."""
    return positions(at[:, None] + torch.tensor(list(steps)), at)
