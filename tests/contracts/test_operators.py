"""Every operator of the package keeps the contract, a foreign one can, and broken ones are caught."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import posteriori.core
import posteriori.decide
import posteriori.domains
import posteriori.inference
import posteriori.learn
import posteriori.physics
from posteriori import Operator, Rng, Space
from posteriori.core.algebra import Dense, Stack
from posteriori.core.operator import TorchOperator
from posteriori.core.support import Classes
from posteriori.testing import check_operator, every
from posteriori.testing.operators import (
    check_autograd,
    check_batch,
    check_dot,
    check_dtype,
    check_linearity,
    check_pure,
    check_select,
    check_shapes,
    check_vjp,
)

PACKAGES = (
    posteriori.core,
    posteriori.physics,
    posteriori.learn,
    posteriori.inference,
    posteriori.decide,
    posteriori.domains,
)
FOUND = [c for p in PACKAGES for c in every(p) if issubclass(c, Operator)]


@pytest.mark.parametrize("operator", FOUND, ids=lambda c: c.__name__)
def test_every_operator_keeps_the_contract(operator: Any) -> None:
    own = operator.example()
    check_operator(own, at=_between_classes(own.domain))


def _between_classes(space: Space) -> Tensor | None:
    """Points where an energy of classes, a polynomial of their codes, can be differentiated; None for other Spaces."""
    if not isinstance(space.support, Classes):
        return None
    return (len(space.support.names) - 1) * Rng(0).uniform((3, *space.shape))


def test_every_finds_the_algebra_by_itself() -> None:
    names = {c.__name__ for c in FOUND}
    assert {"Identity", "Scale", "Stack", "BlockAverage", "Dense", "Sparse", "Compose", "Selection"} <= names


class Foreign(Operator):
    """A NumPy operator with a hand-written adjoint, as PyLops or deepwave would be wrapped."""

    linear = True

    def __init__(self) -> None:
        super().__init__()
        self.domain, self.codomain = Space("m", {"x": 6}, "m/s"), Space("d", {"t": 5}, "s")
        self.kernel = np.array([0.5, -1.0])

    def forward(self, m: Tensor) -> Tensor:
        return torch.from_numpy((self.kernel[0] * m[..., 1:] + self.kernel[1] * m[..., :-1]).numpy())

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        return self.forward(v)

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        zero = torch.zeros_like(r[..., :1])
        return self.kernel[0] * torch.cat([zero, r], -1) + self.kernel[1] * torch.cat([r, zero], -1)


class Cube(TorchOperator):
    """A nonlinear operator on two dims."""

    def __init__(self) -> None:
        super().__init__()
        self.domain = Space("m", {"y": 2, "x": 3})
        self.codomain = Space("d", {"y": 2})

    def forward(self, m: Tensor) -> Tensor:
        return (m**3).sum(-1)


def test_a_foreign_operator_passes() -> None:
    check_operator(Foreign())


def test_a_foreign_operator_passes_inside_a_stack_after_torch() -> None:
    cube = Dense(Space("m", {"x": 4}), Space("n", {"x": 6}), Rng(1).normal((6, 4)))
    check_operator(Stack(near=Foreign() @ cube, direct=cube))


def test_a_nonlinear_operator_passes() -> None:
    check_operator(Cube())


class WrongAdjoint(Foreign):
    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        zero = torch.zeros_like(r[..., :1])
        return self.kernel[0] * torch.cat([zero, r], -1) + 0.999 * self.kernel[1] * torch.cat([r, zero], -1)


class SingleOnly(Foreign):
    def forward(self, m: Tensor) -> Tensor:
        return super().forward(m.float())


class Leaking(Cube):
    def forward(self, m: Tensor) -> Tensor:
        return (m - m.mean()).pow(3).sum(-1)


class BiasedGradient(Cube):
    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        return 1.001 * super().vjp(m, r)

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        return 1.001 * super().jvp(m, v)


class FalselyLinear(Cube):
    linear = True


class Detached(Cube):
    def forward(self, m: Tensor) -> Tensor:
        return super().forward(m.detach())


class InPlace(Cube):
    def forward(self, m: Tensor) -> Tensor:
        result = super().forward(m.clone())
        if not m.requires_grad:
            m.zero_()
        return result


class WrongSelection(Cube):
    def select(self, dim: str, labels: Any) -> Operator:
        return super().select(dim, np.sort(labels)[::-1] if len(labels) > 1 else self.codomain.labels(dim)[:1])


class WrongShape(Cube):
    def forward(self, m: Tensor) -> Tensor:
        return super().forward(m)[..., None]


class UncheckedShape(Cube):
    def __call__(self, m: Tensor) -> Tensor:
        return self.forward(m)


@pytest.mark.parametrize(
    ("broken", "check", "message"),
    [
        (WrongAdjoint, check_dot, "not the transpose"),
        (SingleOnly, check_dtype, "follow|gives torch.float32 for torch.float64"),
        (Leaking, check_batch, "the batch leaks"),
        (BiasedGradient, check_vjp, "the gradient is wrong"),
        (FalselyLinear, check_linearity, "linear is True"),
        (Detached, check_autograd, "cut off from autograd"),
        (InPlace, check_pure, "writes into its input"),
        (WrongSelection, check_select, "order|slicing"),
        (WrongShape, check_shapes, "promise"),
        (UncheckedShape, check_shapes, "one cell too few"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_operator_is_caught(broken: Any, check: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(broken(), Rng(0), None)


def test_a_wrong_adjoint_fails_the_whole_contract() -> None:
    with pytest.raises(AssertionError, match="dot test"):
        check_operator(WrongAdjoint())
