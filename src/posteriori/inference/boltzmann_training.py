"""How a Boltzmann generator learns: by likelihood of short runs, by reverse KL, and by its own corrected draws."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from math import cos, log, pi

import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Target
from posteriori.core.weights import log_mean_exp
from posteriori.inference.defensive import Defensive
from posteriori.learn.flow.spline import SplineFlow

GENTLEST = 0.01
"""The last learning rate as a share of the first."""
CLIP = 10.0
"""Largest norm of a gradient."""
FORGOTTEN = log(30.0)
"""Most by which rows that the flow gives too little density count more than they weigh."""
KEPT = 4000
"""Draws that are weighed and resampled to be learnt from, each time."""


@dataclass(frozen=True)
class Training:
    """What is learnt, for how long.

    The first tenth of the steps raises the likelihood of rows from short runs, whose populations may be wrong. Then
    reverse KL joins, which needs no rows and sets the populations right among the modes that are covered. From the
    third tenth on its gradient goes through the draws alone (the score term, zero on average, is left out: the gradient
    then vanishes where the flow is right), and the rows of the likelihood are the flow's own, drawn with a safety net,
    weighed and resampled: corners that reverse KL would forget come back.

    Args:
        steps, batch, rate: of Adam; the rate falls along a cosine.
        likelihood: weight of the likelihood beside reverse KL.
        refresh: steps between two sets of resampled draws.
        cutoff: energies [kT] above the lowest of the first rows beyond which they grow by their logarithm alone.
        transforms, hidden, bins: of the flow.

    Raises:
        OptionError: numbers that are not positive.

    Reference: Noé, Olsson, Köhler & Wu (2019), Boltzmann generators, Science 365, eaaw1147; Roeder, Wu & Duvenaud
    (2017), Sticking the landing, NeurIPS; Vaitl, Nicoli, Nakajima & Kessel (2022), Gradients should stay on path, ICML.
    """

    steps: int = 1200
    batch: int = 512
    rate: float = 2e-3
    likelihood: float = 0.3
    refresh: int = 50
    cutoff: float = 50.0
    transforms: int = 6
    hidden: tuple[int, ...] = (64, 64)
    bins: int = 12

    references = (
        "Noé, Olsson, Köhler & Wu (2019), Boltzmann generators, Science 365, eaaw1147.",
        "Roeder, Wu & Duvenaud (2017), Sticking the landing, NeurIPS.",
        "Vaitl, Nicoli, Nakajima & Kessel (2022), Gradients should stay on path, ICML.",
    )

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.rate, self.refresh, self.cutoff) <= 0 or self.likelihood < 0:
            raise OptionError(
                f"{self}: steps, batch, rate, refresh and cutoff are positive, likelihood is not negative."
            )


def trained(
    target: Target, rows: Tensor, factors: tuple[float, ...], share: float, training: Training, context: Context
) -> Defensive:
    """A flow that follows exp(-factor · energy), with its safety net.

    Args:
        rows: (n, *space.shape) of short runs, any populations.
        factors: by which the energy is multiplied; with more than one the flow is conditioned on log factor.
        share: of the safety net.
    """
    course = _Course(target, rows, factors, share, training, context.rng)
    for step in context.progress(range(training.steps), "training the generator", training.steps):
        course.step(step / training.steps)
    return course.net()


class _Course:
    """One training as it goes."""

    def __init__(
        self, target: Target, rows: Tensor, factors: tuple[float, ...], share: float, training: Training, rng: Rng
    ) -> None:
        self.target, self.factors, self.share, self.training, self.rng = target, factors, share, training, rng
        steered = int(len(factors) > 1)
        self.flow = SplineFlow(
            target.space,
            training.transforms,
            training.hidden,
            training.bins,
            condition=steered,
            rows=rows,
            rng=rng.child("weights"),
        )
        self.frozen = deepcopy(self.flow).requires_grad_(False)
        self.adam = torch.optim.Adam(self.flow.parameters(), training.rate)
        with torch.no_grad():
            self.lowest = target.energy(rows).min()
        at = torch.tensor(factors, dtype=torch.float64).log()[rng.integers(len(factors), (len(rows),))]
        self.first, self.pool, self.pool_factors = rows, rows, at
        self.since = 0

    def step(self, done: float) -> None:
        """One step of Adam, the share ``done`` of the way."""
        training = self.training
        for group in self.adam.param_groups:
            group["lr"] = training.rate * (GENTLEST + (1 - GENTLEST) * 0.5 * (1 + cos(pi * done)))
        self.since += 1
        if done >= 0.2 and self.since >= training.refresh:
            self._renew()
        loss = (1.0 if done < 0.1 else training.likelihood) * self._surprise()
        if done >= 0.1:
            loss = loss + self._divergence(done >= 0.3)
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.flow.parameters(), CLIP)
        self.adam.step()

    def net(self) -> Defensive:
        """The flow with the safety net."""
        return self._netted(self.flow.eval().requires_grad_(False), self.share)

    def _netted(self, flow: SplineFlow, share: float) -> Defensive:
        """A flow with a net about its own rows and those of the short runs, which may reach into other modes."""
        return Defensive(flow, torch.cat([self.first, self.pool]), share)

    def _surprise(self) -> Tensor:
        """-log q of rows of the pool."""
        at = self.rng.integers(len(self.pool), (self.training.batch // 2,))
        return -self.flow.log_prob(self.pool[at], self._condition(self.pool_factors[at])).mean()

    def _divergence(self, on_path: bool) -> Tensor:
        """Reverse KL up to a constant."""
        low, high = log(min(self.factors)), log(max(self.factors))
        factors = low + (high - low) * self.rng.uniform((self.training.batch,))
        condition = self._condition(factors)
        x, log_q = self.flow.push(self.rng.normal((self.training.batch, self.target.space.size)), condition)
        if on_path:
            with torch.no_grad():
                for mine, other in zip(self.frozen.parameters(), self.flow.parameters(), strict=True):
                    mine.copy_(other)
            log_q = self.frozen.log_prob(x, condition)
        return (log_q + factors.exp() * self._clipped(x)).mean()

    def _clipped(self, x: Tensor) -> Tensor:
        above = self.target.energy(x) - self.lowest - self.training.cutoff
        return torch.where(above > 0, torch.log1p(above.clamp_min(0.0)), above)

    def _renew(self) -> None:
        """Draws of every factor with a wide safety net, weighed and resampled; more of those that the flow misses."""
        net = self._netted(self.flow, 0.15)
        pools, factors = [], []
        for factor in self.factors:
            at = torch.tensor([log(factor)], dtype=torch.float64)
            x, log_q = net.draw(KEPT // len(self.factors), self.rng, at if len(self.factors) > 1 else None)
            with torch.no_grad():
                log_p = -factor * self.target.energy(x)
                raw = log_p - log_q
                short = log_p - self.flow.log_prob(x, at.expand(len(x), 1) if len(self.factors) > 1 else None)
            short = (short - log_mean_exp(raw)[0]).clamp(0.0, FORGOTTEN)
            weights = torch.softmax(raw + short, 0)
            chosen = torch.multinomial(weights, len(x), replacement=True, generator=self.rng.generator)
            pools.append(x[chosen])
            factors.append(at.expand(len(x)))
        self.pool, self.pool_factors, self.since = torch.cat(pools), torch.cat(factors), 0

    def _condition(self, log_factors: Tensor) -> Tensor | None:
        return log_factors[:, None] if len(self.factors) > 1 else None
