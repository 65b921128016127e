"""A net of a set: the order of its members does not count."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from posteriori.core.random import Rng
from posteriori.learn.network import MLP


class DeepSets(nn.Module):
    """ρ(mean over the members of φ(member)): (*batch, n, inputs) → (*batch, outputs), the same for every order.

    Every continuous function of a set of bounded size has this form. Weights are float64.

    Args:
        inputs, outputs: numbers of each member, and of the answer.
        width: of the hidden layers and of the mean.

    Reference: Zaheer, Kottur, Ravanbakhsh, Poczos, Salakhutdinov & Smola (2017), Deep sets, NeurIPS.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Zaheer, Kottur, Ravanbakhsh, Poczos, Salakhutdinov & Smola (2017), Deep sets, NeurIPS.",
    )

    def __init__(self, inputs: int, outputs: int, width: int = 32) -> None:
        super().__init__()
        self.member = MLP(inputs, width, width, depth=1).double()
        self.whole = MLP(width, outputs, width, depth=1).double()

    def forward(self, x: Tensor) -> Tensor:
        """(*batch, n, inputs) → (*batch, outputs)."""
        answer: Tensor = self.whole(self.member(x.double()).mean(-2))
        return answer

    @staticmethod
    def example() -> DeepSets:
        """Sets of pairs of numbers."""
        with Rng(0).child("sets"):
            return DeepSets(2, 1, 8)
