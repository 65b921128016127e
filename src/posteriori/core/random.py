"""A tree of random streams: what is drawn depends on the seed and the keys alone, never on the order of work."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Rng:
    """One stream of the tree; ``child(*key)`` is another, ``generator`` its state.

    Numbers are always drawn on the CPU, so that they are the same for every device.
    """

    seed: int
    path: tuple[str, ...] = ()

    def child(self, *key: str | int) -> Rng:
        """The stream below this one that ``key`` names; independent of what was drawn before."""
        return Rng(self.seed, self.path + tuple(f"{type(k).__name__}:{k}".replace("/", "//") for k in key))

    def fresh(self) -> Rng:
        """A stream that no earlier call gave, for parts of a draw: calling twice must not draw the same twice."""
        calls = self.__dict__.get("_calls", 0)
        self.__dict__["_calls"] = calls + 1
        return self.child("fresh", calls)

    @property
    def key(self) -> str:
        """The last key that leads here, as text; empty at the root."""
        return self.path[-1].partition(":")[2] if self.path else ""

    @property
    def entropy(self) -> int:
        """63 bits that name this stream, for libraries that want an integer seed."""
        text = "/".join((str(self.seed), *self.path)).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1

    @cached_property
    def generator(self) -> torch.Generator:
        """This stream's torch generator; draws advance it."""
        return torch.Generator().manual_seed(self.entropy)

    @cached_property
    def numpy(self) -> np.random.Generator:
        """This stream's NumPy generator; draws advance it, apart from the torch one."""
        return np.random.default_rng(self.entropy)

    def normal(self, shape: Sequence[int], like: Tensor | None = None) -> Tensor:
        """Standard normal draws of ``shape``, with the dtype and device of ``like`` (float64 on the CPU without)."""
        draws = torch.randn(tuple(shape), generator=self.generator, dtype=torch.float64)
        return draws if like is None else draws.to(dtype=like.dtype, device=like.device)

    def uniform(self, shape: Sequence[int], like: Tensor | None = None) -> Tensor:
        """Uniform draws on [0, 1) of ``shape``, with the dtype and device of ``like``."""
        draws = torch.rand(tuple(shape), generator=self.generator, dtype=torch.float64)
        return draws if like is None else draws.to(dtype=like.dtype, device=like.device)

    def integers(self, high: int, shape: Sequence[int]) -> Tensor:
        """Uniform integers in [0, ``high``) of ``shape``."""
        return torch.randint(high, tuple(shape), generator=self.generator)

    def permutation(self, n: int) -> Tensor:
        """A random order of ``n`` things."""
        return torch.randperm(n, generator=self.generator)

    def __enter__(self) -> Rng:
        """Seed torch's global generator from this stream, for code that knows no other; restored on exit."""
        self.__dict__.setdefault("_outer", []).append(torch.get_rng_state())
        seed = int(torch.randint(2**62, (), generator=self.generator))
        # torch.manual_seed would note a traceback for every absent device, which costs more than a small net's step
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)
        return self

    def __exit__(self, *error: object) -> None:
        torch.set_rng_state(self.__dict__["_outer"].pop())

    def __reduce__(self) -> tuple[type[Rng], tuple[int, tuple[str, ...]]]:
        return Rng, (self.seed, self.path)
