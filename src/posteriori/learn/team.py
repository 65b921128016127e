"""Who shares the shards of a training step: one process, or several that exchange gradients."""

from __future__ import annotations

import multiprocessing
from typing import Protocol

import torch
from torch import Tensor, distributed


class Team(Protocol):
    """A process's place among those that train one net."""

    rank: int

    def own(self, shards: int) -> list[int]:
        """The shards that this process works on."""

    def gather(self, own: Tensor, shards: int) -> Tensor:
        """Rows of every shard (shards, p), in the order of the shards, from the own ones (own, p)."""


class Alone:
    """This process does everything."""

    rank = 0

    def own(self, shards: int) -> list[int]:
        """All."""
        return list(range(shards))

    def gather(self, own: Tensor, shards: int) -> Tensor:
        """Themselves."""
        return own


class Ranks:
    """Process ``rank`` of ``size`` in torch's group; exchange goes through the CPU, which any device reaches."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def own(self, shards: int) -> list[int]:
        """Every ``size``-th."""
        return list(range(self.rank, shards, self.size))

    def gather(self, own: Tensor, shards: int) -> Tensor:
        """Exchanged with all others.

        Raises:
            SystemExit: the process that started this one has died; nobody waits for the result.
        """
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            raise SystemExit(1)
        most = -(-shards // self.size)
        padded = torch.zeros(most, own.shape[1], dtype=own.dtype)
        padded[: len(own)] = own.cpu()
        everyone = [torch.empty_like(padded) for _ in range(self.size)]
        distributed.all_gather(everyone, padded)
        return torch.stack([everyone[s % self.size][s // self.size] for s in range(shards)]).to(own.device)
