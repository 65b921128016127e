"""Smaller nets after training: pruning and whole-number weights, each with what it changed, measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.learn.fit import fit
from posteriori.learn.loop import mean_loss
from posteriori.learn.losses import Loss
from posteriori.learn.plan import Batch, Plan

REPEATS = 31
STEPS = 127


@dataclass(frozen=True)
class Cost:
    """What a net costs and how good it is.

    Attributes:
        bytes: of its weights as they would be stored: zeros as one bit, others by their type.
        seconds: median time of one forward pass over the given rows, on one thread.
        loss: mean loss of the given rows.
    """

    bytes: int
    seconds: float
    loss: float


@dataclass(frozen=True)
class Compressed:
    """A smaller net beside what it was made from."""

    net: nn.Module
    before: Cost
    after: Cost


def cost(net: nn.Module, loss: Loss, rows: Batch) -> Cost:
    """Measured on ``rows``, whose first tensor is the net's input."""
    size = sum(_stored(tensor) for tensor in net.state_dict().values())
    net.eval()
    with torch.no_grad():
        seconds = _seconds(lambda: net(rows[0]))
    return Cost(size, seconds, mean_loss(net, loss, rows))


def pruned(
    net: nn.Module,
    share: float,
    loss: Loss,
    data: Batch,
    plan: Plan,
    context: Context,
    rows: Batch,
    rounds: int = 3,
) -> Compressed:
    """Set the smallest ``share`` of all linear weights to zero, in ``rounds`` with training in between.

    The weights of all layers compete, each scaled by its layer's root mean square. Dense products do not get faster by
    zeros: what falls is the size.

    Args:
        rows: held-out rows on which both nets are measured.

    Raises:
        OptionError: a share outside (0, 1), or a net without linear layers.

    Reference: Han, Pool, Tran & Dally (2015), Learning both weights and connections for efficient neural networks,
    arXiv:1506.02626.
    """
    if not 0 < share < 1:
        raise OptionError(f"share {share} of weights to prune is outside (0, 1).")
    current = deepcopy(net)
    for turn in range(1, rounds + 1):
        reached = 1 - (1 - share) ** (turn / rounds)
        for layer, mask in zip(_linear(current), _masks(current, reached), strict=True):
            parametrize.register_parametrization(layer, "weight", _Masked(mask))
        current = fit(current, loss, data, plan, context.child("pruning", turn)).net
        for layer in _linear(current):
            parametrize.remove_parametrizations(layer, "weight")
    return Compressed(current, cost(net, loss, rows), cost(current, loss, rows))


def quantised(net: nn.Module, loss: Loss, rows: Batch) -> Compressed:
    """Linear weights as whole numbers of 8 bits with one scale for each output, rounded to the nearest.

    Products are made in the type of the input: what falls is the size, not the time.

    Raises:
        OptionError: a net without linear layers.

    Reference: Jacob et al. (2018), Quantization and training of neural networks for efficient integer-arithmetic-only
    inference, arXiv:1712.05877.
    """
    _linear(net)
    small = nn.Sequential(deepcopy(net))
    for name, layer in list(small.named_modules()):
        if isinstance(layer, nn.Linear):
            small.set_submodule(name, RoundedLinear(layer))
    return Compressed(small[0].eval(), cost(net, loss, rows), cost(small[0], loss, rows))


class RoundedLinear(nn.Module):
    """A linear layer whose weights are ``whole`` · ``scale``, whole numbers from -127 to 127."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach()
        scale = weight.abs().amax(1, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny) / STEPS
        self.register_buffer("whole", torch.round(weight / scale).to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())
        self.whole: Tensor
        self.scale: Tensor
        self.bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """(*batch, inputs) → (*batch, outputs)."""
        product = (x @ self.whole.to(x.dtype).mT) * self.scale[:, 0].to(x.dtype)
        return product if self.bias is None else product + self.bias.to(x.dtype)


class _Masked(nn.Module):
    """Weights that stay zero where ``mask`` is."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.mask: Tensor

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def _linear(net: nn.Module) -> list[nn.Linear]:
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise OptionError(f"{type(net).__name__} has no linear layer to make smaller.")
    return layers


def _masks(net: nn.Module, share: float) -> list[Tensor]:
    """True where a weight is among the largest of all layers, relative to its layer."""
    with torch.no_grad():
        sizes = [layer.weight.abs() / layer.weight.square().mean().sqrt() for layer in _linear(net)]
        edge = torch.cat([s.flatten() for s in sizes]).sort().values
        threshold = edge[min(int(share * len(edge)), len(edge) - 1)]
        return [s >= threshold for s in sizes]


def _stored(tensor: Tensor) -> int:
    """Bytes of the values that are not zero, and one bit for each that says which are; dense if that is less."""
    filled = int((tensor != 0).sum())
    return min(tensor.numel() * tensor.element_size(), filled * tensor.element_size() + -(-tensor.numel() // 8))


def _seconds(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return median(times)
