"""Coarse spins of a lattice: one number for each block, by a learnt filter or by the block's own majority."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from posteriori.core.errors import ShapeError
from posteriori.core.random import Rng

Block = tuple[int, int]
Offsets = Sequence[tuple[int, int]]


class BlockRule(nn.Module):
    """Coarse values f(v) = Σ w v of the spins v of each block of rows × columns.

    (*batch, R, C) → (*batch, R / rows, C / columns); a ring of n sites is a lattice of 1 × n.

    The filter is the same for all blocks, and odd: turning all spins over turns the coarse ones. ``coarse`` takes the
    sign, so that the rule can be applied again to what it gives.

    Args:
        weights: the filter, (rows, columns).

    Raises:
        ShapeError: a filter of another number of axes.

    Reference: Kadanoff (1966), Scaling laws for Ising models near Tc, Physics 2, 263.
    """

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        if weights.ndim != 2:
            raise ShapeError(f"a filter of shape {tuple(weights.shape)} fits no block; give (rows, columns).")
        self.weights = nn.Parameter(weights.clone())

    @property
    def shape(self) -> Block:
        """Rows and columns of a block."""
        rows, columns = self.weights.shape
        return rows, columns

    @staticmethod
    def random(shape: Block, rng: Rng) -> BlockRule:
        """A small random filter, with no block spin in it from the start."""
        return BlockRule(0.1 * rng.normal(shape).float())

    @staticmethod
    def majority(shape: Block) -> BlockRule:
        """The block spin: every site counts alike, but for a thousandth that decides where a block is undecided."""
        tie = torch.arange(shape[0] * shape[1], 0, -1).reshape(shape) ** 2
        return BlockRule(1 + 1e-3 * tie / tie.max())

    def field(self, block: Tensor) -> Tensor:
        """f of blocks (*batch, sites)."""
        return block @ self.weights.to(block).flatten()

    def forward(self, spins: Tensor) -> Tensor:
        """f of every block.

        Raises:
            ShapeError: blocks do not fit the lattice.
        """
        return self.field(blocks(spins, self.shape))

    def coarse(self, spins: Tensor) -> Tensor:
        """Coarse spins ±1, as float32."""
        with torch.no_grad():
            return torch.where(self(spins.float()) > 0, 1.0, -1.0)

    @staticmethod
    def example() -> BlockRule:
        """The block spin of 2 × 2 sites."""
        return BlockRule.majority((2, 2))


def blocks(spins: Tensor, shape: Block) -> Tensor:
    """The sites of each block: (*batch, R, C) → (*batch, R / rows, C / columns, sites).

    Raises:
        ShapeError: the sides of the lattice are no multiples of the block's.
    """
    (r, c), (rows, columns) = spins.shape[-2:], shape
    if r % rows or c % columns:
        raise ShapeError(f"blocks of {rows} × {columns} do not fit {r} × {c} sites; the sides must be multiples.")
    cut = spins.reshape(*spins.shape[:-2], r // rows, rows, c // columns, columns)
    return cut.transpose(-3, -2).reshape(*spins.shape[:-2], r // rows, c // columns, rows * columns)


def surroundings(shape: Block, buffer: int, reach: int) -> Offsets:
    """Offsets (row, column) from a block's first site of the ring of ``reach`` sites that begins ``buffer`` away.

    Around a block of one row they are the sites before and behind it.
    """
    near = [range(-buffer, n + buffer) for n in shape]
    far = [range(-buffer - reach, n + buffer + reach) for n in shape]
    if shape[0] == 1:
        near[0] = far[0] = range(1)
    return [(r, c) for r in far[0] for c in far[1] if r not in near[0] or c not in near[1]]


def patches(spins: Tensor, shape: Block, around: Offsets, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
    """``n`` blocks at random places of random configurations (m, R, C), and their surroundings: (n, sites), (n, k).

    Raises:
        ShapeError: the lattice is so small that the surroundings meet themselves.
    """
    m, rows, columns = spins.shape
    inside = [(r, c) for r in range(shape[0]) for c in range(shape[1])]
    offsets = torch.tensor([*inside, *around])
    span = offsets.amax(0) - offsets.amin(0) + 1
    if int(span[0]) > rows or int(span[1]) > columns:
        raise ShapeError(
            f"blocks with their surroundings span {int(span[0])} × {int(span[1])} sites and the lattice has "
            f"{rows} × {columns}; take a larger lattice or a smaller buffer."
        )
    which, r, c = rng.integers(m, (n,)), rng.integers(rows, (n,)), rng.integers(columns, (n,))
    found = spins[which[:, None], (r[:, None] + offsets[:, 0]) % rows, (c[:, None] + offsets[:, 1]) % columns].float()
    return found[:, : len(inside)], found[:, len(inside) :]
