"""Small nets: a scaled multi-layer perceptron, its shape as a picklable object, and nets on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from posteriori.core.errors import DataError, OptionError, StoreError
from posteriori.core.random import Rng
from posteriori.core.store import Store


class Activation(Enum):
    """What stands between two linear layers."""

    SILU = "silu"
    GELU = "gelu"
    TANH = "tanh"
    RELU = "relu"

    def layer(self) -> nn.Module:
        """A new layer of this kind."""
        return _ACTIVATIONS[self]()


_ACTIVATIONS: Mapping[Activation, Callable[[], nn.Module]] = {
    Activation.SILU: nn.SiLU,
    Activation.GELU: nn.GELU,
    Activation.TANH: nn.Tanh,
    Activation.RELU: nn.ReLU,
}


class Scaling(nn.Module):
    """``(x - mean) / std`` column by column, kept as buffers; the identity until fitted."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("std", torch.ones(columns))
        self.mean: Tensor
        self.std: Tensor

    @staticmethod
    def of(x: Tensor) -> Scaling:
        """Fitted to the training rows ``x`` (n, columns); a column that never changes is only centred.

        Raises:
            DataError: no rows, or a value that is not finite.
        """
        if x.ndim != 2 or len(x) == 0:
            raise DataError(f"scaling is fitted to rows (n, columns), n > 0; {tuple(x.shape)} was given.")
        if not bool(torch.isfinite(x).all()):
            row, column = (int(i) for i in (~torch.isfinite(x)).nonzero()[0])
            raise DataError(f"feature {column} of row {row} is not finite; drop the row or the feature.")
        scaling = Scaling(x.shape[1])
        spread = x.double().std(0, correction=0)
        still = spread <= 1e-12 * x.double().abs().amax(0)
        scaling.mean = x.double().mean(0).float()
        scaling.std = torch.where(still, 1.0, spread).float()
        return scaling.to(x.device)

    def forward(self, x: Tensor) -> Tensor:
        """(*batch, columns) → (*batch, columns)."""
        return (x - self.mean.to(x.dtype)) / self.std.to(x.dtype)


class MLP(nn.Module):
    """Scaling, then ``depth`` hidden layers of ``width`` with dropout, then a linear layer: (*, inputs) → (*, outputs).

    Inductive bias: smooth functions of the features, equally so along each of them after scaling.

    Raises:
        OptionError: sizes below one or a dropout outside [0, 1).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 64,
        depth: int = 2,
        dropout: float = 0.0,
        activation: Activation = Activation.SILU,
    ) -> None:
        super().__init__()
        if min(inputs, outputs, width, depth) < 1 or not 0 <= dropout < 1:
            raise OptionError(
                f"an MLP needs sizes of at least 1 and a dropout in [0, 1); inputs={inputs}, outputs={outputs}, "
                f"width={width}, depth={depth}, dropout={dropout} were given."
            )
        self.inputs, self.outputs = inputs, outputs
        self.width, self.depth, self.dropout, self.activation = width, depth, dropout, activation
        self.scaling = Scaling(inputs)
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Linear(inputs if i == 0 else width, width), activation.layer(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(*batch, inputs) → (*batch, outputs)."""
        prediction: Tensor = self.layers(self.scaling(x))
        return prediction

    def thinned(self, rng: Rng) -> MLP:
        """A copy without dropout from which one random set of hidden units is gone: one function, for all rows."""
        copy = deepcopy(self).eval()
        linear = [layer for layer in copy.layers if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            for layer in linear[1:]:
                keep = rng.uniform((layer.in_features,), layer.weight) >= self.dropout
                layer.weight.mul_(keep / (1.0 - self.dropout))
        return copy

    def config(self) -> dict[str, Any]:
        """All that ``from_config`` needs, JSON-able."""
        sizes = {"inputs": self.inputs, "outputs": self.outputs, "width": self.width, "depth": self.depth}
        return {**sizes, "dropout": self.dropout, "activation": self.activation.value}

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> MLP:
        """A new net of the shape that ``config`` tells."""
        return MLP(**{**config, "activation": Activation(config["activation"])})

    @staticmethod
    def example() -> MLP:
        """Two numbers to one."""
        with Rng(0).child("mlp"):
            return MLP(2, 1, width=8)


class WithExcess(nn.Module):
    """A net (*, inputs) → (*, 1) beside the logarithm of one learnt variance, the same everywhere: (*, 2)."""

    FIRST_LOG_VARIANCE = -3.0

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.inner = net
        self.log_excess = nn.Parameter(torch.zeros(()))  # beyond the first guess, so that weight decay pulls to that

    def forward(self, x: Tensor) -> Tensor:
        """(*batch, inputs) → (*batch, 2)."""
        mean = self.inner(x)
        return torch.cat([mean, (self.FIRST_LOG_VARIANCE + self.log_excess).expand_as(mean)], -1)

    def thinned(self, rng: Rng) -> WithExcess:
        """The inner net thinned, beside the same variance.

        Raises:
            OptionError: it cannot be.
        """
        copy = deepcopy(self)
        if not isinstance(self.inner, Thinnable):
            raise OptionError(f"a {type(self.inner).__name__} cannot be thinned; use Layers(dropout=…).")
        copy.inner = self.inner.thinned(rng)
        return copy


class Architecture(Protocol):
    """The shape of a net before its inputs and outputs are known; picklable."""

    def __call__(self, inputs: int, outputs: int) -> nn.Module:
        """A new net (*, inputs) → (*, outputs), its weights from torch's global generator."""


@dataclass(frozen=True)
class Layers:
    """The shape of an :class:`MLP`."""

    width: int = 64
    depth: int = 2
    dropout: float = 0.0
    activation: Activation = Activation.SILU

    def __call__(self, inputs: int, outputs: int) -> MLP:
        """A new net."""
        return MLP(inputs, outputs, self.width, self.depth, self.dropout, self.activation)

    @staticmethod
    def example() -> Layers:
        """One small hidden layer."""
        return Layers(8, 1)


@runtime_checkable
class Thinnable(Protocol):
    """A net from which random units can be taken away."""

    def thinned(self, rng: Rng) -> nn.Module:
        """A copy without dropout from which one random set of hidden units is gone."""


@runtime_checkable
class Configured(Protocol):
    """A net that can tell its shape."""

    def config(self) -> dict[str, Any]:
        """What builds a net of the same shape, JSON-able."""

    def state_dict(self) -> dict[str, Any]:
        """Its weights and buffers."""


N = TypeVar("N", bound=nn.Module)


def save_net(net: Configured, path: str | Path) -> Path:
    """Write weights and config to ``path``, a ``.safetensors`` file that appears whole or not at all.

    Raises:
        StoreError: another ending, or a folder that cannot be written.
    """
    path = _checked(path)
    Store(path.parent).save(path.stem, net.state_dict(), {"net": type(net).__name__, "config": net.config()})
    return path


def load_net(from_config: Callable[[Mapping[str, Any]], N], path: str | Path) -> N:
    """The net that :func:`save_net` wrote, bit for bit: ``load_net(MLP.from_config, path)``.

    Raises:
        StoreError: no such file, a damaged one, or one of another net.
    """
    path = _checked(path)
    found = Store(path.parent).load(path.stem)
    if found is None:
        raise StoreError(f"{path} does not exist.")
    tensors, facts = found
    try:
        net = from_config(facts["config"])
        net.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StoreError(
            f"{path} holds a {facts.get('net', 'file without a net')}, not what was asked: {error}"
        ) from error
    return net


def _checked(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ".safetensors":
        raise StoreError(f"{path} ends in {path.suffix!r}; a net is kept in .safetensors.")
    return path
