"""Many nets of one architecture run as one, by products that are batched over the nets."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.learn.network import Layers


class Crowd(nn.Module):
    """``k`` nets side by side: (b, f) → (k, b, *out), with the weights of each as one slice of stacked tensors.

    A loss that sums over the nets trains each as if it were alone, at a fraction of the time.

    Raises:
        OptionError: no nets, or nets whose buffers change in the forward pass (batch normalisation).
    """

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        if not nets:
            raise OptionError("a crowd needs at least one net.")
        if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in nets[0].modules()):
            raise OptionError(
                "batch normalisation changes buffers as it runs, which stacked nets cannot; use LayerNorm."
            )
        parameters, buffers = stack_module_state(list(nets))
        self.size = len(nets)
        self.stacked = nn.ParameterDict({_flat(name): nn.Parameter(p.detach()) for name, p in parameters.items()})
        for name, buffer in buffers.items():
            self.register_buffer(_flat(name), buffer)
        self._names = {_flat(name): name for name in (*parameters, *buffers)}
        # one net that lends its forward pass; kept out of the modules, so that its own weights are never trained
        self.__dict__["skeleton"] = deepcopy(nets[0]).requires_grad_(False)
        self._fixed = tuple(_flat(name) for name in buffers)

    def forward(self, x: Tensor) -> Tensor:
        """Every net at every row, (k, b, *out)."""
        skeleton: nn.Module = self.__dict__["skeleton"]
        skeleton.train(self.training)

        def one(state: dict[str, Tensor]) -> Tensor:
            out: Tensor = functional_call(skeleton, state, (x,))
            return out

        return torch.func.vmap(one, randomness="different")(self._state())

    def member(self, k: int) -> nn.Module:
        """Net ``k`` alone, in evaluation mode."""
        net = deepcopy(self.__dict__["skeleton"]).eval()
        net.load_state_dict({name: tensor[k].detach().clone() for name, tensor in self._state().items()})
        return net.to(next(iter(self.stacked.values())).device)

    def _state(self) -> dict[str, Tensor]:
        buffers = {self._names[name]: self.get_buffer(name) for name in self._fixed}
        return {**{self._names[name]: p for name, p in self.stacked.items()}, **buffers}

    @staticmethod
    def example() -> Crowd:
        """Three small nets."""
        with Rng(0).child("crowd"):
            return Crowd([Layers(8, 1)(2, 1) for _ in range(3)])


def _flat(name: str) -> str:
    return name.replace(".", "/")
