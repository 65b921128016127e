"""Linearised acoustic waves: single scattering about a background velocity."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from posteriori.core.operator import Compose, Operator, Selection
from posteriori.core.support import Real
from posteriori.physics.acoustic import Acoustic


class Born(Operator):
    """The change of the traces of ``acoustic``, to first order, with a change of velocity [m/s] about ``background``.

    Linear, with the derivative of :class:`Acoustic` at ``background`` (z, x) and its exact adjoint, which is
    reverse-time migration without its usual approximations.

    Reference: Hudson & Heritage (1981), The use of the Born approximation in seismic scattering problems.
    """

    linear = True
    references: ClassVar[tuple[str, ...]] = (*Acoustic.references, "Hudson & Heritage (1981), Born scattering")

    def __init__(self, acoustic: Acoustic, background: Tensor) -> None:
        super().__init__()
        self.acoustic = acoustic
        self.domain = replace(acoustic.domain, name=f"change of {acoustic.domain.name}", support=Real())
        self.codomain = acoustic.codomain
        self.register_buffer("background", acoustic.domain.check(background, "background").detach())
        self.background: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """J(background) m, (*batch, shot, receiver, time)."""
        return self.acoustic.jvp(self._at(m), m)

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """``forward(v)``, wherever."""
        return self.forward(v)

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        """J(background)ᵀ r."""
        return self.acoustic.vjp(self._at(m), r)

    def select(self, dim: str, labels: Any) -> Operator:
        """Only some shots or receivers: only these shots run."""
        part = self.acoustic.select(dim, labels)
        if isinstance(part, Acoustic):
            return Born(part, self.background)
        return Compose(Selection.along(self.codomain, dim, labels), self)

    def _at(self, m: Tensor) -> Tensor:
        return self.background.to(m.dtype).expand(m.shape)

    @staticmethod
    def example() -> Born:
        """About a constant background."""
        acoustic = Acoustic.example()
        return Born(acoustic, torch.ones(acoustic.domain.shape, dtype=torch.float64))
