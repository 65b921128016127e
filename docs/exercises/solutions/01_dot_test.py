"""Three wrong adjoints of a running mean, and the right one: the contracts tell them apart."""

from __future__ import annotations

import torch
from torch import Tensor

import posteriori as po
from posteriori.testing import check_operator


class RunningMean(po.Operator):
    """(m[i] + m[i+1]) / 2, with the adjoint that it is given."""

    linear = True

    def __init__(self, adjoint: object) -> None:
        super().__init__()
        self.domain, self.codomain = po.Space("m", {"x": 8}), po.Space("d", {"x": 7})
        self.transposed = adjoint

    def forward(self, m: Tensor) -> Tensor:
        return 0.5 * (m[..., 1:] + m[..., :-1])

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        return self.forward(v)

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        return self.transposed(r)


def pad(r: Tensor, left: int, right: int) -> Tensor:
    """``r`` with zeros on either side."""
    return torch.nn.functional.pad(r, (left, right))


ADJOINTS = {
    "right": lambda r: 0.5 * (pad(r, 1, 0) + pad(r, 0, 1)),
    "without the half": lambda r: pad(r, 1, 0) + pad(r, 0, 1),
    "with a wrong sign": lambda r: 0.5 * (pad(r, 1, 0) - pad(r, 0, 1)),
    "off by one at the end": lambda r: 0.5 * (pad(r, 1, 0) + pad(r[..., 1:], 1, 1)),
}

caught = []
for name, adjoint in ADJOINTS.items():
    try:
        check_operator(RunningMean(adjoint))
        print(f"{name}: passes")
    except AssertionError as complaint:
        caught.append(name)
        print(f"{name}: {complaint}")

assert "right" not in caught
print(f"wrong adjoints caught = {len(caught)}")
