"""Importance sampling from a proposal with a safety net, with weights that say how far to trust them."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from posteriori.core.covariance import ScaledCovariance
from posteriori.core.draws import RAW_WEIGHT, Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import Method
from posteriori.core.prior import Density, Samples
from posteriori.core.run import Context
from posteriori.core.target import Conditioned, Inverse, Target
from posteriori.core.weights import log_mean_exp, pareto_smooth
from posteriori.inference.laplace import Laplace
from posteriori.inference.parts import rows_for
from posteriori.inference.problems import regression
from posteriori.inference.unconstrained import Unconstrained

WIDENING = 3.0
"""How much wider than a Gaussian proposal its safety net is, where the prior cannot serve."""
NUMBERS_AT_ONCE = 2**24


@runtime_checkable
class Proposal(Samples, Density, Protocol):
    """Can be drawn from and has a normalised density."""


@dataclass(frozen=True)
class Importance:
    """Rows from a proposal q, each with weight exp(-energy) / q; every row is kept, with its unnormalised log-weight.

    A share ``defensive`` of the rows comes from the prior (or from q three times wider, where the prior has no
    density), and q is the mixture of both: no weight then exceeds exp(-misfit) / defensive. ``posterior.pareto_k()``
    judges the weights: below 0.7 they can be trusted, above they cannot, whatever the effective sample size says; take
    a better proposal or HMC then. ``stats`` hold the raw log-weights and their k̂. The evidence is the mean raw weight,
    unbiased, with its standard error.

    Args:
        proposal: a prior or posterior with a density, or the method that gives one for the target.
        draws: rows.
        defensive: share of the safety net, in [0, 1).
        smooth: replace the largest weights by quantiles of the Pareto law fitted to them; less variance, little bias.

    Reference: Hesterberg (1995), Weighted average importance sampling and defensive mixture distributions,
    Technometrics 37, 185; Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto smoothed importance sampling, JMLR 25.
    """

    proposal: Method | Proposal = Laplace()  # noqa: RUF009
    draws: int = 4000
    defensive: float = 0.1
    smooth: bool = True

    references: ClassVar[tuple[str, ...]] = (
        "Hesterberg (1995), Weighted average importance sampling and defensive mixture distributions, "
        "Technometrics 37, 185.",
        "Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto smoothed importance sampling, JMLR 25.",
    )

    def __post_init__(self) -> None:
        if self.draws < 2 or not 0 <= self.defensive < 1:
            raise OptionError(
                f"draws {self.draws} must be at least 2 and the defensive share {self.defensive} in [0, 1)."
            )

    def __call__(self, target: Target, context: Context) -> Draws:
        """All rows with their log-weights, and the evidence.

        Raises:
            UnanswerableError: no density for the proposal or no energy, or every weight is zero.
        """
        proposal = self._proposal(target, context)
        batch = target.batch if isinstance(target, Inverse) else ()
        with torch.no_grad():
            net = self._net(target, proposal) if self.defensive else None
            few = 0 if net is None else max(1, round(self.defensive * self.draws))
            x = rows_for(proposal, self.draws - few, batch, context.rng.child("proposal"))
            log_q = log((self.draws - few) / self.draws)
            if net is None:
                density = proposal.log_prob(x)
            else:
                x = torch.cat([x, rows_for(net, few, batch, context.rng.child("net")).to(x)])
                own, wide = log_q + proposal.log_prob(x), log(few / self.draws) + net.log_prob(x)
                density = torch.logaddexp(torch.where(own.isnan(), -torch.inf, own), wide)
            raw = -_energies(target, x) - density
        if bool((raw == -torch.inf).all(0).any()):
            raise UnanswerableError(
                "every weight is zero: no row of the proposal meets the target; give a proposal that does, or HMC."
            )
        smoothed, k = pareto_smooth(raw)
        evidence, error = log_mean_exp(raw)
        stats = {RAW_WEIGHT: raw, "pareto_k": k.expand_as(raw).clone()}
        problems = target.problems if isinstance(target, Inverse) else None
        posterior = Draws(
            target.space, x, smoothed if self.smooth else raw, problems=problems, log_evidence=evidence, stats=stats
        )
        posterior.log_evidence_error = error
        return posterior

    def _proposal(self, target: Target, context: Context) -> Proposal:
        given = self.proposal if isinstance(self.proposal, Proposal) else None
        if given is None:
            assert callable(self.proposal)
            found = self.proposal(target, context.child("inner"))
            if not isinstance(found, Proposal):
                raise UnanswerableError(
                    f"{type(found).__name__} rows have no density to divide by; propose from a Gaussian or a Mixture, "
                    "e.g. Laplace(), or posterior.matched()."
                )
            given = found
        if not given.space.same(target.space):
            raise UnanswerableError(f"the proposal speaks of {given.space}, the target of {target.space}.")
        return given

    def _net(self, target: Target, proposal: Proposal) -> Proposal:
        prior = target.prior if isinstance(target, (Inverse, Conditioned)) else None
        if isinstance(prior, Proposal):
            return prior
        if isinstance(proposal, Gaussian):
            wide = ScaledCovariance(
                proposal.covariance, torch.full((1,), WIDENING, dtype=proposal.covariance.like.dtype)
            )
            return Gaussian(proposal.space, proposal.location, wide, problems=proposal.problems)
        raise UnanswerableError(
            f"neither the prior nor a wider {type(proposal).__name__} can serve as the safety net; use defensive=0."
        )

    @staticmethod
    def example() -> tuple[Importance, Inverse]:
        """A linear question, proposed from its own answer and from the prior."""
        return Importance(draws=2000), regression()


def _energies(target: Target, x: Tensor) -> Tensor:
    """Energies (draw, *problem), infinite outside the support; in pieces that fit in memory."""
    at_once = max(1, NUMBERS_AT_ONCE // max(1, x[0].numel()))
    energy = torch.cat([target.energy(rows) for rows in x.split(at_once)])
    return torch.where(Unconstrained(target.space, "Importance").inside(x), energy, torch.inf)
