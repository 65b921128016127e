"""The committor from the ends of trajectories, by maximum likelihood: outcomes are Bernoulli with its log-odds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Bernoulli
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.committor_net import CommittorNet, LogOddsAt, two_discs

NEWTON = 25
SETTLED = 1e-8


@dataclass(frozen=True)
class ShootingCommittor:
    """An ensemble of committor networks of greatest likelihood, given where trajectories ended.

    The target is ``Inverse(net.log_odds(starts), prior, outcomes, Bernoulli())`` with outcomes 1 for B and 0 for A.
    Each member draws a hidden layer and a bootstrap of the outcomes; its output weights, which have a normal prior of
    standard deviation ``spread``, follow by Newton steps, for their energy is convex.

    Args:
        members: networks.
        spread: of the output weights before the outcomes are seen.

    Reference: Peters & Trout (2006), Obtaining reaction coordinates by likelihood maximization, J. Chem. Phys. 125,
    054108.
    """

    members: int = 16
    spread: float = 3.0

    references: ClassVar[tuple[str, ...]] = (
        "Peters & Trout (2006), Obtaining reaction coordinates by likelihood maximization, J. Chem. Phys. 125, 054108.",
    )

    def __post_init__(self) -> None:
        if self.members < 1 or not 0 < self.spread < float("inf"):
            raise OptionError(f"{self}: members from 1, spread positive.")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Weights of every network, a row each.

        Raises:
            UnanswerableError: another target than outcomes of a committor network.
        """
        if (
            not isinstance(target, Inverse)
            or not isinstance(target.operator, LogOddsAt)
            or not isinstance(target.noise, Bernoulli)
        ):
            raise UnanswerableError("ShootingCommittor answers Inverse(net.log_odds(starts), …, Bernoulli()).")
        net, points = target.operator.net, target.operator.points
        with torch.no_grad():
            lift = net.lift(points)
            rows = []
            for i in context.progress(range(self.members), "ShootingCommittor", self.members):
                rng = context.rng.child("member", i)
                hidden = net.hidden(1, rng.child("hidden"))[0]
                waves = net.phases(hidden, points).sin()
                often = torch.bincount(
                    rng.child("bootstrap").integers(len(points), (len(points),)), minlength=len(points)
                )
                rows.append(torch.cat([hidden, self._likeliest(waves, lift, target.data.double(), often.double())]))
        return Draws(target.space, torch.stack(rows))

    def _likeliest(self, waves: Tensor, lift: Tensor, outcome: Tensor, often: Tensor) -> Tensor:
        """Output weights (width,) by Newton's method."""
        w = torch.zeros(waves.shape[1], dtype=torch.float64)
        pull = torch.eye(len(w), dtype=torch.float64) / self.spread**2
        for _ in range(NEWTON):
            q = torch.sigmoid(lift + waves @ w)
            slope = waves.mT @ (often * (q - outcome)) + w / self.spread**2
            curvature = waves.mT @ ((often * q * (1 - q))[:, None] * waves) + pull
            change = torch.cholesky_solve(slope[:, None], torch.linalg.cholesky(curvature))[:, 0]
            w = w - change
            if float(change.abs().max()) < SETTLED:
                break
        return w

    @staticmethod
    def example() -> tuple[ShootingCommittor, Inverse]:
        """Outcomes of a known network between two discs."""
        rng = Rng(0).child("shooting")
        net = two_discs()
        points = 1.5 * rng.normal((300, 2))
        points = points[torch.isfinite(net.lift(points))]
        target = outcomes_of(net, points, torch.zeros(len(points), dtype=torch.float64))
        return ShootingCommittor(40), target.given(target.simulate(1, rng)[1].data[0])


def outcomes_of(net: CommittorNet, starts: Tensor, outcomes: Tensor) -> Inverse:
    """The question which weights of ``net`` explain that trajectories from ``starts`` (n, d) ended so, (n,)."""
    ones = torch.ones(net.weights.size, dtype=torch.float64)
    prior = Gaussian(net.weights, 0 * ones, DiagonalCovariance(ones))
    return Inverse(net.log_odds(starts), prior, outcomes, Bernoulli())
