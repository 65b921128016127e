"""Using what one net has learnt for another question: copy, freeze, fine-tune."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TypeVar

from torch import nn

from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.learn.fit import fit
from posteriori.learn.loop import Fitted
from posteriori.learn.losses import Loss
from posteriori.learn.plan import Batch, Plan

N = TypeVar("N", bound=nn.Module)


def copied(source: nn.Module, into: N, *prefixes: str) -> N:
    """A copy of ``into`` with the parameters and buffers of ``source`` whose names begin with a prefix; all without.

    Raises:
        OptionError: a prefix that fits nothing, or a tensor of another shape.
    """
    found, own = source.state_dict(), into.state_dict()
    chosen = _matching(list(found), prefixes)
    for name in chosen:
        if name not in own or own[name].shape != found[name].shape:
            there = tuple(own[name].shape) if name in own else "missing"
            raise OptionError(f"{name} is {tuple(found[name].shape)} in the source and {there} here; leave it out.")
    net = deepcopy(into)
    net.load_state_dict({**own, **{name: found[name] for name in chosen}})
    return net


def frozen(net: N, *prefixes: str) -> N:
    """A copy of ``net`` in which the parameters whose names begin with a prefix do not learn.

    Raises:
        OptionError: no prefix, or one that fits no parameter.
    """
    if not prefixes:
        raise OptionError("frozen(net) needs at least one prefix of parameter names.")
    copy = deepcopy(net)
    parameters = dict(copy.named_parameters())
    for name in _matching(list(parameters), prefixes):
        parameters[name].requires_grad_(False)
    return copy


def falling_rates(net: nn.Module, decay: float) -> tuple[tuple[str, float], ...]:
    """``Plan.factors`` that multiply the rate by ``decay`` for every layer further from the output.

    Reference: Howard & Ruder (2018), Universal language model fine-tuning for text classification, arXiv:1801.06146.
    """
    if not 0 <= decay <= 1:
        raise OptionError(f"decay {decay} is outside [0, 1].")
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name, _ in net.named_parameters()))
    return tuple((f"{name}.", decay ** (len(layers) - 1 - depth)) for depth, name in enumerate(layers))


def fine_tune(
    net: nn.Module,
    loss: Loss,
    data: Batch,
    plan: Plan,
    context: Context,
    validation: Batch | None = None,
    decay: float = 0.5,
) -> Fitted:
    """Train a learnt net further, its layers the more slowly the further they are from the output."""
    return fit(net, loss, data, replace(plan, factors=falling_rates(net, decay)), context, validation)


def _matching(names: list[str], prefixes: tuple[str, ...]) -> list[str]:
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise OptionError(f"no name begins with {prefix!r}; the net has {', '.join(names[:8])} …")
    return [name for name in names if not prefixes or name.startswith(prefixes)]
