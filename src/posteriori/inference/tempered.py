"""Hotter rows with exact weights: how much of a law lies beyond a barrier that its own chains would not cross."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.prior import Prior
from posteriori.core.run import Context
from posteriori.core.target import Conditioned, Target, prior_energy
from posteriori.core.weights import normalised
from posteriori.inference.codes import heights, require_event
from posteriori.inference.event_probability import CALLS, ISLAND, shared_out
from posteriori.inference.hmc import HMC
from posteriori.inference.subset_simulation import tail


class Heated(Target):
    """exp(-energy / heat) of a prior known by its energy; a ``Boltzmann`` target is one.

    Args:
        prior: of energy or density.
        heat: temperature in units of the prior's own.

    Raises:
        OptionError: a heat below one.
    """

    def __init__(self, prior: Prior, heat: float) -> None:
        super().__init__()
        if not 1 <= heat < float("inf"):
            raise OptionError(f"heat={heat:g}: from 1, the law's own temperature.")
        self.prior, self.heat = prior, heat
        self.space = prior.space

    def energy(self, x: Tensor) -> Tensor:
        """The prior's energy over the heat."""
        return prior_energy(self.prior, x) / self.heat

    def log_weights(self, x: Tensor) -> Tensor:
        """log of the prior's density over this one's, up to a constant, float64 (*batch,)."""
        with torch.no_grad():
            return (1 / self.heat - 1) * prior_energy(self.prior, x)


@dataclass(frozen=True)
class Tempered:
    """The share of a law that lies in an event, from Hamiltonian chains ``heat`` times hotter, with exact weights.

    The prior needs an energy or density, known up to a constant: ``Conditioned(Boltzmann(U, beta), place > top)`` asks
    for the population of a well. Rows keep their chains; weights average one over the whole law, so that their mean in
    the event is P, and its error comes from the scatter of the chains, which are independent. ``stats``: island (the
    chain), height, calls (gradients, as many as expected).

    Args:
        heat: temperature in units of the law's own; barriers shrink by it, and so does the effective sample size in
            many dimensions.
        chains: how the hot law is drawn.

    Reference: Torrie & Valleau (1977), Nonphysical sampling distributions in Monte Carlo free-energy estimation,
    Journal of Computational Physics 23, 187.
    """

    heat: float = 4.0
    chains: HMC = HMC(200, 200, 100)  # noqa: RUF009

    references: ClassVar[tuple[str, ...]] = (
        "Torrie & Valleau (1977), Nonphysical sampling distributions in Monte Carlo free-energy estimation, Journal of "
        "Computational Physics 23, 187.",
    )

    def __post_init__(self) -> None:
        if not 1 <= self.heat < float("inf") or self.chains.chains < 4:
            raise OptionError(f"heat={self.heat:g} from 1, and at least 4 chains, not {self.chains.chains}.")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Rows of all chains, those outside the event with weight zero, and log P.

        Raises:
            UnanswerableError: no rare event, or a prior without energy.
        """
        event = require_event(target, "Tempered")
        hot = Heated(event.prior, self.heat)
        rows = self.chains(hot, context)
        whole = hot.log_weights(rows.values)
        whole = whole - torch.logsumexp(whole, 0) + log(len(whole))
        height = heights(event, rows.values)
        raw = torch.where(height > event.level, whole, -torch.inf)
        evidence = torch.logsumexp(raw, 0) - log(len(raw))
        chain = torch.arange(rows.chains).repeat_interleave(len(raw) // rows.chains).double()
        hmc = self.chains
        calls = round((hmc.warmup + hmc.draws) * hmc.chains * (hmc.steps + 1) / 2)
        stats = {ISLAND: chain, "height": height, CALLS: shared_out(calls, len(raw))}
        found = Draws(event.space, rows.values, raw, chains=rows.chains, log_evidence=evidence, stats=stats)
        found.log_evidence_error = _scatter(whole, height > event.level, rows.chains)
        return found

    @staticmethod
    def example() -> tuple[Tempered, Conditioned]:
        """A sum of correlated normal numbers beyond two of its standard deviations."""
        return Tempered(1.5, HMC(60, 60, 50, steps=5)), tail(4, 2.0)


def _scatter(log_weights: Tensor, inside: Tensor, chains: int) -> Tensor:
    """Relative standard error of the share of weight ``inside``, from independent chains."""
    weights = normalised(log_weights)
    p = (weights * inside).sum()
    gaps = (weights * (inside.double() - p)).reshape(chains, -1).sum(1)
    return (gaps.square().sum() * chains / (chains - 1)).sqrt() / p
