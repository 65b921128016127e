"""Known physics, a learned prior and sparse noisy data: a calibrated posterior, with an audit anyone can re-run."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posteriori.core.cite import cite
    from posteriori.core.draws import Draws
    from posteriori.core.gaussian import Gaussian
    from posteriori.core.infer import infer
    from posteriori.core.loading import load
    from posteriori.core.mixture import Mixture
    from posteriori.core.operator import Operator
    from posteriori.core.posterior import Posterior
    from posteriori.core.random import Rng
    from posteriori.core.space import Space
    from posteriori.core.target import Boltzmann, Conditioned, Inverse

__version__ = "0.1.0"

_HOMES = {
    "Boltzmann": "core.target",
    "Conditioned": "core.target",
    "Draws": "core.draws",
    "Gaussian": "core.gaussian",
    "Inverse": "core.target",
    "Mixture": "core.mixture",
    "Operator": "core.operator",
    "Posterior": "core.posterior",
    "Rng": "core.random",
    "Space": "core.space",
    "cite": "core.cite",
    "infer": "core.infer",
    "load": "core.loading",
}

__all__ = [
    "Boltzmann",
    "Conditioned",
    "Draws",
    "Gaussian",
    "Inverse",
    "Mixture",
    "Operator",
    "Posterior",
    "Rng",
    "Space",
    "cite",
    "infer",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'posteriori' has no attribute {name!r}")
    return getattr(import_module(f"posteriori.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
