"""A network whose values are a committor by construction: 0 in A, 1 in B, sines between; its weights are unknown."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn

from posteriori.core.covariance import frozen
from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.operator import TorchOperator
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.inference.regions import Ball, Region


class CommittorNet(nn.Module):
    """One hidden layer of sines in the log-odds of q, behind boundary terms.

    log q / (1 - q) = log s_A - log s_B + Σ w sin(a·u + c), u = (x - centre) / scale, with s = 1 - exp(-gap / reach) of
    each set, which vanishes on its border: q is 0 in A and 1 in B for all weights. A row of ``weights`` holds a
    (width, d), c (width,) and w (width,), flat. Hidden weights a are drawn with standard deviation 1 / ``length``, the
    scale on which log-odds vary in units of u, a number that the network owns.

    Args:
        a, b: the two sets.
        centre, scale: of configurations, flat (d,).
        width: of the hidden layer.
        length: scale on which features vary.
        reach: how fast the boundary factors rise, in the unit of the gap.

    Raises:
        OptionError: a width, length or reach that is not positive.
        ShapeError: centre and scale that are not flat and alike.
    """

    def __init__(
        self,
        a: Region,
        b: Region,
        centre: Tensor,
        scale: Tensor,
        width: int = 256,
        length: float = 0.4,
        reach: float = 0.2,
    ) -> None:
        super().__init__()
        if width < 1 or not length > 0 or not reach > 0:
            raise OptionError(f"width={width}, length={length:g}, reach={reach:g} must all be positive.")
        if centre.ndim != 1 or centre.shape != scale.shape:
            raise ShapeError(f"centre {tuple(centre.shape)} and scale {tuple(scale.shape)} must be flat and alike.")
        self.a, self.b, self.width, self.reach = a, b, width, reach
        self.register_buffer("centre", centre.double())
        self.register_buffer("scale", scale.double())
        self.centre: Tensor
        self.scale: Tensor
        self.length = nn.Parameter(torch.tensor(length, dtype=torch.float64))
        self.weights = Space("network weights", {"weight": width * (len(centre) + 2)})

    def at(self, points: Tensor) -> CommittorAt:
        """q at ``points`` (n, d), as an Operator on the weights."""
        return CommittorAt(self, points)

    def log_odds(self, points: Tensor) -> LogOddsAt:
        """log q / (1 - q) at ``points`` (n, d), as an Operator on the weights."""
        return LogOddsAt(self, points)

    def hidden(self, members: int, rng: Rng) -> Tensor:
        """Hidden weights (a, c) of ``members`` networks, (members, width (d + 1))."""
        d = len(self.centre)
        slopes = rng.normal((members, self.width * d)) / float(self.length.detach())
        return torch.cat([slopes, 2 * pi * rng.uniform((members, self.width))], -1)

    def phases(self, hidden: Tensor, points: Tensor) -> Tensor:
        """a·u + c at points (n, d): (*batch, n, width)."""
        d = len(self.centre)
        slopes = hidden[..., : self.width * d].reshape(*hidden.shape[:-1], self.width, d)
        u = ((points - self.centre) / self.scale).to(hidden)
        return u @ slopes.mT + hidden[..., None, self.width * d : self.width * (d + 1)]

    def lift(self, points: Tensor) -> Tensor:
        """log s_A - log s_B at points (n, d), (n,); -inf in A and inf in B."""
        s_a, s_b = (-torch.expm1(-region.gap(points).clamp_min(0.0) / self.reach) for region in (self.a, self.b))
        return s_a.log() - s_b.log()

    def features(self, hidden: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """For one network at points (n, d) outside both sets: lift (n,), its gradient (n, d), sines (n, width), theirs.

        The gradients of the sines are (n, d, width).
        """
        where = points.detach().requires_grad_()
        with torch.enable_grad():
            lift = self.lift(where)
            lift_slope = torch.autograd.grad(lift.sum(), where)[0]
        phase = self.phases(hidden, points)
        d = len(self.centre)
        a = hidden[: self.width * d].reshape(self.width, d) / self.scale
        return lift.detach(), lift_slope, phase.sin(), phase.cos()[:, None, :] * a.mT


class CommittorAt(TorchOperator):
    """q of a :class:`CommittorNet` at fixed points: weights (*batch, width (d + 2)) → (*batch, n); 0 in A, 1 in B."""

    def __init__(self, net: CommittorNet, points: Tensor) -> None:
        super().__init__()
        self.net, self.domain = frozen(net), net.weights
        self.codomain = Space("committor", {"point": len(points)})
        self.register_buffer("points", points.double())
        self.points: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """The committor."""
        return torch.sigmoid(self.net.lift(self.points).to(m) + _output(self.net, m, self.points))

    @staticmethod
    def example() -> CommittorAt:
        """Three points between two discs."""
        return two_discs().at(_points())


class LogOddsAt(TorchOperator):
    """log q / (1 - q) of a :class:`CommittorNet` at fixed points outside both sets: weights → (*batch, n)."""

    def __init__(self, net: CommittorNet, points: Tensor) -> None:
        super().__init__()
        if not bool(torch.isfinite(net.lift(points.double())).all()):
            raise OptionError("log-odds are infinite within A and B; leave out the points that lie there.")
        self.net, self.domain = net, net.weights
        self.codomain = Space("log-odds", {"point": len(points)})
        self.register_buffer("points", points.double())
        self.points: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """The log-odds."""
        return self.net.lift(self.points).to(m) + _output(self.net, m, self.points)

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        """J(m)ᵀ r, without a graph unless it is asked for: the network's own length is no part of the log-odds."""
        found = TorchOperator.vjp(self, m, r)
        return found if m.requires_grad or r.requires_grad else found.detach()

    @staticmethod
    def example() -> LogOddsAt:
        """Three points between two discs."""
        return two_discs().log_odds(_points())


def two_discs() -> CommittorNet:
    """A small network between two discs in the plane."""
    ones = torch.ones(2, dtype=torch.float64)
    return CommittorNet(Ball((-1.0, 0.0), 0.3), Ball((1.0, 0.0), 0.3), 0 * ones, ones, width=5, length=1.0)


def _output(net: CommittorNet, m: Tensor, points: Tensor) -> Tensor:
    """Σ w sin(a·u + c), (*batch, n)."""
    split = net.width * (len(net.centre) + 1)
    waves = net.phases(m[..., :split], points.to(m)).sin()
    return (waves @ m[..., split:, None])[..., 0]


def _points() -> Tensor:
    return torch.tensor([[0.1, 0.2], [-0.4, 0.5], [0.5, -0.6]], dtype=torch.float64)
