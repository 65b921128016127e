"""The strength of a link between two properties, left to the data: an average over strengths by their evidence."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.infer import Method
from posteriori.core.posterior import Posterior
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.domains.geophysics.joint_prior import LinkedPrior
from posteriori.inference.averaging import mixed
from posteriori.inference.exact import Exact
from posteriori.inference.model_weights import evidence_weights

STRENGTHS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
"""Correlations in a cell: none, then scatters of 87, 71, 60, 44, 31 and 20 % of the density's own spread."""


@dataclass(frozen=True)
class OverLinks:
    """``method`` for each strength of the link in the target's :class:`LinkedPrior`, mixed by their evidence.

    All strengths are equally likely before the data. Where the link is false the evidence turns to the strength 0, for
    which the two properties are inverted apart.

    Args:
        method: answers with an evidence: Exact for linear operators, LowRankLaplace for others.
        strengths: correlations in (-1, 1).

    Reference: Hoeting, Madigan, Raftery & Volinsky (1999), Bayesian model averaging, Statistical Science 14, 382.
    """

    method: Method = field(default_factory=Exact)
    strengths: tuple[float, ...] = STRENGTHS

    references: ClassVar[tuple[str, ...]] = (
        "Hoeting, Madigan, Raftery & Volinsky (1999), Bayesian model averaging, Statistical Science 14, 382.",
    )

    def __post_init__(self) -> None:
        if not self.strengths or not all(-1 < r < 1 for r in self.strengths):
            raise OptionError(f"strengths {self.strengths} must be correlations in (-1, 1), at least one.")

    def __call__(self, target: Target, context: Context) -> Posterior:
        """The mixture over strengths.

        Raises:
            UnanswerableError: the prior has no link, or the inner method no evidence.
        """
        answers, weights = self.answers(target, context)
        return mixed(answers, weights, context.rng.child("mix"))

    def answers(self, target: Target, context: Context) -> tuple[list[Posterior], Tensor]:
        """One answer for each strength, and their probabilities (strength, *problem)."""
        if not isinstance(target, Inverse) or not isinstance(target.prior, LinkedPrior):
            raise UnanswerableError("OverLinks averages over the correlation of a LinkedPrior, and there is none here.")
        answers = []
        for k, strength in enumerate(self.strengths):
            answers.append(self.method(_with_strength(target, target.prior, strength), context.child("strength", k)))
        evidence = [answer.log_evidence for answer in answers if answer.log_evidence is not None]
        if len(evidence) < len(answers):
            raise UnanswerableError(f"{type(self.method).__name__} gives no evidence; use Exact or LowRankLaplace.")
        return answers, evidence_weights(torch.stack(evidence))


def _with_strength(target: Inverse, prior: LinkedPrior, strength: float) -> Inverse:
    other = copy(target)
    other._modules = {**target._modules, "prior": prior.linked(strength)}
    return other
