"""A posterior over classes, cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, UnanswerableError
from posteriori.core.law_file import Law
from posteriori.core.operator import Operator
from posteriori.core.posterior import DRAWS, Posterior, apply_to_draws, equal_rows
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Classes


class Categorical(Posterior):
    """Independent class probabilities (*problem, *space.shape, class); joint members are Draws instead.

    Raises:
        DataError: a Space without classes, or probabilities that are negative or do not sum to one.
    """

    def __init__(self, space: Space, probabilities: Tensor, *, problems: Mapping[str, Any] | None = None) -> None:
        super().__init__(space, problems, None)
        if not isinstance(space.support, Classes):
            raise DataError(f"{space} has support {space.support}; a Categorical needs Classes.")
        if probabilities.shape[-1] != len(space.support.names):
            raise DataError(f"{probabilities.shape[-1]} probabilities for the classes {space.support.names}.")
        space.check(probabilities[..., 0], "probabilities")
        total = probabilities.sum(-1)
        if bool((probabilities < 0).any()) or not bool(torch.isclose(total, torch.ones_like(total), atol=1e-5).all()):
            raise DataError("class probabilities must be ≥ 0 and sum to one in each cell.")
        self.register_buffer("probabilities", probabilities)
        self.probabilities: Tensor
        self.names = space.support.names

    def sample(self, n: int, rng: Rng) -> Tensor:
        """Class codes, float like the probabilities, (n, *problem, *space.shape)."""
        edges = self.probabilities.cumsum(-1)
        u = rng.uniform((n, *edges.shape[:-1], 1), edges)
        return (u > edges).sum(-1).clamp_max(len(self.names) - 1).to(edges.dtype)

    def rows(self, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
        return equal_rows(self.sample(n, rng), len(self.problems))

    def center(self) -> Tensor:
        """The most probable class."""
        return self.probabilities.argmax(-1).to(self.probabilities.dtype)

    def spread(self) -> Tensor:
        raise UnanswerableError("classes have no standard deviation; ask classes() for their probabilities.")

    def quantile(self, p: Tensor) -> Tensor:
        raise UnanswerableError("classes have no quantiles; ask classes() for their probabilities.")

    def covariance_between(self, cells: Tensor) -> Tensor:
        raise UnanswerableError("independent classes have no covariance; ask for joint Draws.")

    def classes(self) -> xr.DataArray:
        """The probabilities with a last dim ``class``."""
        one = self.space.label(self.center(), self.problems)
        coords = {**one.coords, "class": list(self.names)}
        return xr.DataArray(self.probabilities.cpu().numpy(), coords, (*one.dims, "class"), self.space.name)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log probability of class codes, float64 (*batch,)."""
        codes = x.long()[..., None]
        table = self.probabilities.double().log().expand(*codes.shape[:-1], -1)
        return self.space.flat(table.gather(-1, codes)[..., 0]).sum(-1)

    def law(self) -> Law:
        return Law("Categorical", self.space, self.problems, {"probabilities": self.probabilities, **self._evidence()})

    @staticmethod
    def of(law: Law) -> Categorical:
        """The Categorical whose :meth:`law` was kept."""
        return Categorical(law.space, law.tensors["probabilities"], problems=law.problems)

    def map(
        self,
        f: Operator | Callable[..., Tensor],
        *,
        space: Space | None = None,
        draws: int = DRAWS,
        rng: Rng | None = None,
    ) -> Posterior:
        """``f`` of draws."""
        rng = rng or self._rng("map")
        values, landed = apply_to_draws(self.sample(draws, rng.child("draws")), f, space, rng.child("f"))
        return Draws(landed, values)
