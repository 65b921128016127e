"""What a greedy search asks: the gain of each candidate now, and to count one as observed."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Rule(Protocol):
    """The gains of all candidates, given those already taken."""

    def gains(self) -> tuple[Tensor, Tensor]:
        """Expected gains and their standard errors, float64 (c,) each."""

    def take(self, index: int) -> None:
        """Count the candidate ``index`` as observed."""
