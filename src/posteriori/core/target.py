"""The question: an unnormalised density exp(-energy) over a Space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from math import inf
from numbers import Real
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn

from posteriori.core.errors import DataError, ShapeError, UnanswerableError
from posteriori.core.noise import Noise, Normal
from posteriori.core.operator import Event, Operator, Selection
from posteriori.core.prior import Density, Energy, Prior, Samples
from posteriori.core.random import Rng
from posteriori.core.space import Space


class Target(nn.Module, ABC):
    """An unnormalised density over ``space``."""

    space: Space

    @abstractmethod
    def energy(self, x: Tensor) -> Tensor:
        """-log density up to a constant, float64, differentiable: (*batch, *space.shape) → (*batch,)."""


class Inverse(Target):
    """``data = operator(unknown) + noise``, ``unknown ~ prior``.

    Args:
        operator: what maps the unknown to the data.
        prior: what is plausible before the data; any capability that the method needs.
        data: labelled array (or a tensor in the codomain's order); dims in front of the codomain's are
            problems, all solved at once.
        noise: a law of the data given the prediction; a labelled array, a tensor in the order of the data or a number
            is a **standard deviation**.

    Raises:
        ShapeError, UnitError, DataError: data or standard deviations that do not fit the codomain.
    """

    def __init__(
        self,
        operator: Operator,
        prior: Prior,
        data: xr.DataArray | xr.Dataset | Tensor,
        noise: Noise | xr.DataArray | Tensor | float,
    ) -> None:
        super().__init__()
        if not prior.space.same(operator.domain):
            raise ShapeError(f"the prior speaks of {prior.space}, the operator acts on {operator.domain}.")
        self.operator = operator
        self.prior = prior
        self.space = operator.domain
        self.problems = _problems(operator.codomain, data)
        self.register_buffer("data", operator.codomain.align(data, "data"))
        self.data: Tensor
        self.noise = noise if isinstance(noise, Noise) else _as_noise(noise, operator.codomain)

    @property
    def batch(self) -> tuple[int, ...]:
        """Shape of the problems that are solved at once; () for one."""
        return tuple(self.data.shape[: self.data.ndim - len(self.operator.codomain.shape)])

    def misfit(self, x: Tensor) -> Tensor:
        """-log p(data | x), float64 (*batch,), all constants kept; gaps do not count."""
        seen = self.seen()
        space = seen.operator.codomain
        return seen.noise.energy(space.flat(seen.data), space.flat(seen.operator(x)))

    def seen(self) -> Inverse:
        """The same question asked of the defined data alone, along one flat dim; itself where there is no gap."""
        space = self.operator.codomain
        if space.mask is None:
            return self
        keep = Selection.where(space, space.mask, "datum")
        other = copy(self)
        other._buffers = {**self._buffers, "data": keep(self.data)}
        other._modules = {**self._modules, "operator": keep @ self.operator, "noise": self.noise.part(keep.index)}
        return other

    def energy(self, x: Tensor) -> Tensor:
        """misfit + prior energy (its -log density where it is normalised)."""
        return self.misfit(x) + prior_energy(self.prior, x)

    def simulate(self, n: int, rng: Rng) -> tuple[Tensor, Inverse]:
        """``n`` unknowns from the prior, (n, *space.shape), and the target of the ``n`` data sets they give.

        Raises:
            UnanswerableError: the prior cannot be drawn from, or there are problem dims already.
        """
        if not isinstance(self.prior, Samples):
            raise UnanswerableError(f"{type(self.prior).__name__} cannot be drawn from, so nothing can be simulated.")
        rng = rng.fresh()
        x = self.prior.sample(n, rng.child("prior"))
        space = self.operator.codomain
        with torch.no_grad():
            prediction = space.flat(self.operator(x))
            data = space.unflat(self.noise.sample(prediction, rng.child("noise")))
        return x, self.given(data)

    def given(self, data: Tensor) -> Inverse:
        """The same question for other data (*problem, *codomain.shape); learnt parts are shared."""
        other = copy(self)
        other._buffers = {**self._buffers, "data": self.operator.codomain.check(data, "data")}
        lead = data.ndim - len(self.operator.codomain.shape)
        names = ["problem"] if lead == 1 else [f"problem_{i}" for i in range(lead)]
        other.problems = dict.fromkeys(names)
        return other


class Boltzmann(Target):
    """exp(-beta · potential(x)): matter in heat.

    Args:
        potential: an Operator onto a scalar energy.
        beta: 1 / (k T) in the inverse unit of the potential.
    """

    def __init__(self, potential: Operator, beta: float) -> None:
        super().__init__()
        if potential.codomain.size != 1:
            raise ShapeError(f"a potential gives one number; {potential} gives {potential.codomain.size}.")
        self.potential, self.beta = potential, beta
        self.space = potential.domain

    def energy(self, x: Tensor) -> Tensor:
        """beta · U(x)."""
        return self.beta * self.potential.codomain.flat(self.potential(x))[..., 0].double()


class Conditioned(Target):
    """A prior given that an event happened: ``Conditioned(demand, queue > level)``."""

    def __init__(self, prior: Prior, event: Event) -> None:
        super().__init__()
        if not prior.space.same(event.operator.domain):
            raise ShapeError(f"the prior speaks of {prior.space}, the event of {event.operator.domain}.")
        self.prior, self.operator, self.level = prior, event.operator, event.level
        self.space = prior.space

    def height(self, x: Tensor) -> Tensor:
        """The quantity that has to exceed ``level``, (*batch,)."""
        return self.operator.codomain.flat(self.operator(x))[..., 0]

    def energy(self, x: Tensor) -> Tensor:
        """The prior's energy inside the event, infinite outside."""
        outside = torch.where(self.height(x) > self.level, 0.0, inf)
        return prior_energy(self.prior, x) + outside.double()


def prior_energy(prior: Prior, x: Tensor) -> Tensor:
    """-log density of a prior, normalised where it can be; float64 (*batch,).

    Raises:
        UnanswerableError: the prior has neither density nor energy.
    """
    if isinstance(prior, Density):
        return -prior.log_prob(x)
    if isinstance(prior, Energy):
        return prior.energy(x)
    raise UnanswerableError(
        f"{type(prior).__name__} has no energy or density; use a method that only draws from its prior."
    )


def _problems(space: Space, data: xr.DataArray | xr.Dataset | Tensor) -> Mapping[str, Any]:
    """Names and labels of the dims in front of the codomain's."""
    if isinstance(data, Tensor):
        lead = data.ndim - len(space.shape)
        return dict.fromkeys(["problem"] if lead == 1 else [f"problem_{i}" for i in range(lead)])
    if not isinstance(data, xr.DataArray):
        return {}
    return {str(d): data[d].values if d in data.coords else None for d in data.dims if d not in space.dims}


def _as_noise(noise: xr.DataArray | Tensor | float, space: Space) -> Noise:
    if isinstance(noise, xr.DataArray) or (isinstance(noise, Tensor) and noise.ndim > 0):
        sigma = space.align(noise, "standard deviation")
        return Normal(space.flat(sigma if space.mask is None else sigma.where(space.mask, 1.0)))
    if not isinstance(noise, Real | Tensor):
        raise DataError(
            f"noise is a {type(noise).__name__}; give a standard deviation (a number, a tensor or a labelled array) "
            "or a law such as Normal."
        )
    return Normal(float(noise))
