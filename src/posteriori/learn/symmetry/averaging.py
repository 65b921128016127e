"""Any net made invariant by averaging it over a group, whole or by frames."""

from __future__ import annotations

from itertools import permutations, product
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.learn.network import MLP


class Symmetry(Protocol):
    """What a configuration is seen under."""

    def views(self, x: Tensor) -> Tensor:
        """Positions (*batch, n, d) → their images (views, *batch, n, d)."""


class AxisGroup(nn.Module):
    """A finite group: all signed permutations of the axes, with or without reading the particles backwards.

    The hyperoctahedral group of d axes (48 elements in space) is a subgroup of O(d): an average over it is exactly
    invariant under these elements and under no other rotation.

    Args:
        dimensions: d, one to three.
        reversal: chains that read the same from both ends.
    """

    def __init__(self, dimensions: int, reversal: bool = False) -> None:
        super().__init__()
        if not 1 <= dimensions <= 3:
            raise OptionError(f"{dimensions} dimensions: one to three.")
        eye = torch.eye(dimensions, dtype=torch.float64)
        signs = [torch.tensor(s, dtype=torch.float64) for s in product((1.0, -1.0), repeat=dimensions)]
        elements = [eye[list(p)] * s for p in permutations(range(dimensions)) for s in signs]
        self.register_buffer("elements", torch.stack(elements))
        self.elements: Tensor
        self.reversal = reversal

    def views(self, x: Tensor) -> Tensor:
        """One view for each element of the group."""
        seen = x.double() @ self.elements.reshape(-1, *(1,) * (x.ndim - 2), *self.elements.shape[1:])
        return torch.cat([seen, seen.flip(-2)]) if self.reversal else seen


class PrincipalFrames(nn.Module):
    """O(d) and translations by frames: the configuration seen from its mean, along its principal axes, all signs.

    2^d views, the same set whichever way the configuration is turned or reflected, so that an average over them is
    invariant under all of O(d). Where two principal moments coincide the axes are not unique; such configurations have
    probability zero, but the average is not continuous there.

    Args:
        dimensions: d, one to three.
        proper: right-handed frames alone, 2^(d-1) views: mirror images are told apart.

    Reference: Puny, Atzmon, Smith, Misra, Grover, Ben-Hamu & Lipman (2022), Frame averaging for invariant and
    equivariant network design, ICLR.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Puny, Atzmon, Smith, Misra, Grover, Ben-Hamu & Lipman (2022), Frame averaging for invariant and equivariant "
        "network design, ICLR.",
    )

    def __init__(self, dimensions: int, proper: bool = False) -> None:
        super().__init__()
        if not 1 <= dimensions <= 3:
            raise OptionError(f"{dimensions} dimensions: one to three.")
        self.proper = proper
        signs = torch.tensor(list(product((1.0, -1.0), repeat=dimensions)), dtype=torch.float64)
        self.register_buffer("signs", signs)
        self.signs: Tensor

    def views(self, x: Tensor) -> Tensor:
        """One view for each choice of signs."""
        x = x.double()
        x = x - x.mean(-2, keepdim=True)
        axes = torch.linalg.eigh(x.mT @ x).eigenvectors
        signs = self.signs
        if self.proper:
            axes = torch.cat([axes[..., :-1], axes[..., -1:] * torch.linalg.det(axes)[..., None, None]], -1)
            signs = signs[signs.prod(-1) > 0]
        return (x @ axes) * signs.reshape(-1, *(1,) * (x.ndim - 1), signs.shape[-1])


class Averaged(nn.Module):
    """The mean of a net over the views of a configuration: (*batch, n, d) → (*batch, outputs), invariant as they are.

    Args:
        net: (*, n·d) → (*, outputs), or (*, n, d) → (*, outputs) where ``flat`` is false.
        symmetry: which views.
        flat: whether the net takes rows.
    """

    def __init__(self, net: nn.Module, symmetry: Symmetry, flat: bool = True) -> None:
        super().__init__()
        self.net, self.symmetry, self.flat = net.double(), symmetry, flat

    def forward(self, x: Tensor) -> Tensor:
        """(*batch, n, d) → (*batch, outputs)."""
        seen = self.symmetry.views(x)
        answer: Tensor = self.net(seen.flatten(-2) if self.flat else seen)
        return answer.mean(0)

    @staticmethod
    def example() -> Averaged:
        """A critic of three particles in space."""
        with Rng(0).child("averaged"):
            return Averaged(MLP(9, 1, 8), PrincipalFrames(3))
