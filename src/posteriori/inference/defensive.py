"""A flow with a safety net: no weight of the target over it can grow beyond a bound."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor, nn

from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.inference.quasi_random import normal_points
from posteriori.learn.flow.spline import SplineFlow

WIDER = 3.0
"""Covariance of the safety net over that of the rows it is made for."""


class Defensive(nn.Module):
    """q = (1 - share) flow + share N(location, covariance): a flow with a wide Gaussian beneath it.

    Weights exp(-energy) / q stay below exp(-energy) / (share · wide): where the flow forgets a corner of the target,
    rows of the wide part still come by, and their weights are bounded.

    Args:
        flow: what is learnt.
        rows: (n, *space.shape) of about the target's place and spread; the wide part has three times their covariance.
        share: of the wide part, in (0, 1).

    Raises:
        OptionError: a share outside (0, 1).

    Reference: Hesterberg (1995), Weighted average importance sampling and defensive mixture distributions,
    Technometrics 37, 185.
    """

    references = (
        "Hesterberg (1995), Weighted average importance sampling and defensive mixture distributions, "
        "Technometrics 37, 185.",
    )

    def __init__(self, flow: SplineFlow, rows: Tensor, share: float = 0.02) -> None:
        super().__init__()
        if not 0 < share < 1:
            raise OptionError(f"the defensive share {share:g} lies in (0, 1).")
        self.flow, self.share, self.space = flow, share, flow.space
        flat = self.space.flat(rows).double()
        covariance = WIDER * flat.mT.cov().reshape(self.space.size, self.space.size)
        self.wide = Gaussian(self.space, self.space.unflat(flat.mean(0)), DenseCovariance(covariance))

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws, (n, *space.shape)."""
        return self.draw(n, rng)[0]

    def log_prob(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Log density, float64 (*batch,)."""
        return self._mixed(x, self.flow.log_prob(x, condition))

    def draw(self, n: int, rng: Rng, condition: Tensor | None = None, quasi: bool = False) -> tuple[Tensor, Tensor]:
        """``n`` draws and their log-densities; the wide part gives its share, rounded at random, in random order.

        Args:
            condition: of the flow; one vector for all draws.
            quasi: base points of one scrambled Sobol sequence for each part instead of independent ones.
        """
        rng = rng.fresh()
        few = int(self.share * n + float(rng.child("count").uniform(())))
        streams = rng.child("flow"), rng.child("wide")
        size = self.space.size
        z, far = (
            (normal_points(k, size, s) if quasi else s.normal((k, size)))
            for k, s in zip((n - few, few), streams, strict=True)
        )
        with torch.no_grad():
            x, log_q = self.flow.push(z, condition)
            y = self.space.unflat(self.space.flat(self.wide.location) + far @ self._root.mT)
            both = torch.cat([self._mixed(x, log_q), self.log_prob(y, condition)])
        order = rng.permutation(n)
        return torch.cat([x, y])[order], both[order]

    def floor(self, x: Tensor) -> Tensor:
        """log (share · wide): no log-density of the mixture lies below, so no log-weight above -energy - floor."""
        return self.wide.log_prob(x) + log(self.share)

    @property
    def _root(self) -> Tensor:
        covariance = self.wide.covariance
        assert isinstance(covariance, DenseCovariance)
        return covariance.root

    def _mixed(self, x: Tensor, log_q: Tensor) -> Tensor:
        """The mixture's log-density from the flow's; one that the flow cannot give counts as nothing."""
        own = torch.where(log_q.isnan(), -torch.inf, log_q) + log(1 - self.share)
        return torch.logaddexp(own, self.floor(x))
