"""Several methods as one: their answers mixed, weighted by evidence, by stacking or by pseudo-BMA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.infer import Method
from posteriori.core.mixture import Mixture
from posteriori.core.posterior import DRAWS, Posterior
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.exact import Exact
from posteriori.inference.held_out import held_out
from posteriori.inference.laplace import Laplace
from posteriori.inference.model_weights import evidence_weights, pseudo_bma_weights, stacking_weights
from posteriori.inference.problems import regression


class Weighting(Protocol):
    """Decides how much each method's answer counts."""

    def __call__(
        self, target: Target, methods: Sequence[Method], answers: Sequence[Posterior], context: Context
    ) -> Tensor:
        """Weights (method,), or (method, *problem) where problems differ."""


@dataclass(frozen=True)
class ByEvidence:
    """Bayesian model averaging: the probability of each model given the data, all equal before.

    Reference: Hoeting, Madigan, Raftery & Volinsky (1999), Bayesian model averaging, Statistical Science 14, 382.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Hoeting, Madigan, Raftery & Volinsky (1999), Bayesian model averaging, Statistical Science 14, 382.",
    )

    def __call__(
        self, target: Target, methods: Sequence[Method], answers: Sequence[Posterior], context: Context
    ) -> Tensor:
        """From the answers' log-evidences.

        Raises:
            UnanswerableError: an answer has none.
        """
        found = []
        for method, answer in zip(methods, answers, strict=True):
            if answer.log_evidence is None:
                raise UnanswerableError(f"{type(method).__name__} gives no evidence; weigh ByStacking() instead.")
            found.append(answer.log_evidence)
        return evidence_weights(torch.stack(found))


@dataclass(frozen=True)
class ByStacking:
    """The mixture that best predicts data held out in ``folds`` random folds; every method answers once per fold.

    Reference: Yao, Vehtari, Simpson & Gelman (2018), Using stacking to average Bayesian predictive distributions,
    Bayesian Analysis 13, 917.
    """

    folds: int = 10

    references: ClassVar[tuple[str, ...]] = (
        "Yao, Vehtari, Simpson & Gelman (2018), Using stacking to average Bayesian predictive distributions, "
        "Bayesian Analysis 13, 917.",
    )

    def __call__(
        self, target: Target, methods: Sequence[Method], answers: Sequence[Posterior], context: Context
    ) -> Tensor:
        """From held-out densities."""
        return stacking_weights(_held_out_of_all(target, methods, self.folds, context))


@dataclass(frozen=True)
class ByPseudoBMA:
    """Weights by exp(held-out log density) over ``folds`` random folds, softened by the Bayesian bootstrap.

    Reference: Yao, Vehtari, Simpson & Gelman (2018), Bayesian Analysis 13, 917, section 3.4.
    """

    folds: int = 10

    references: ClassVar[tuple[str, ...]] = ByStacking.references

    def __call__(
        self, target: Target, methods: Sequence[Method], answers: Sequence[Posterior], context: Context
    ) -> Tensor:
        """From held-out densities."""
        density = _held_out_of_all(target, methods, self.folds, context)
        return pseudo_bma_weights(density, context.rng.child("bootstrap"))


@dataclass(frozen=True)
class Average:
    """The answers of several methods as one Mixture; its covariance counts what they disagree on.

    As exact as its members and their weights. Several problems at once come as Draws where their weights differ.
    """

    methods: tuple[Method, ...]
    weighting: Weighting = ByEvidence()

    def __post_init__(self) -> None:
        if not self.methods:
            raise OptionError("an average needs at least one method.")

    def __call__(self, target: Target, context: Context) -> Posterior:
        """The mixture of all answers."""
        answers = [method(target, context.child("method", k)) for k, method in enumerate(self.methods)]
        weights = self.weighting(target, self.methods, answers, context.child("weights"))
        return mixed(answers, weights, context.rng.child("mix"))

    @staticmethod
    def example() -> tuple[Average, Inverse]:
        """Two ways to the same answer, so that the average is it again."""
        return Average((Exact(), Laplace())), regression()


def mixed(answers: Sequence[Posterior], weights: Tensor, rng: Rng) -> Posterior:
    """A Mixture for weights (k,); for (k, *problem) each problem draws its rows from its own mixture."""
    if weights.ndim == 1:
        return Mixture(answers, weights)
    first = answers[0]
    member = torch.searchsorted(
        weights.movedim(0, -1).cumsum(-1).contiguous(), rng.uniform((*weights.shape[1:], DRAWS)).to(weights)
    ).clamp_max(len(answers) - 1)
    member = member.movedim(-1, 0)
    rows = torch.stack([answer.sample(DRAWS, rng.child(k)) for k, answer in enumerate(answers)])
    index = member.reshape(1, *member.shape, *(1,) * len(first.space.shape)).expand(1, *rows.shape[1:])
    return Draws(first.space, rows.gather(0, index)[0], problems=first.problems)


def _held_out_of_all(target: Target, methods: Sequence[Method], folds: int, context: Context) -> Tensor:
    """Held-out log densities, (method, datum)."""
    if not isinstance(target, Inverse):
        raise UnanswerableError(f"{type(target).__name__} has no data to hold out; weigh ByEvidence().")
    if target.batch:
        raise UnanswerableError(f"weights from held-out data serve one problem, not {target.batch}: ByEvidence().")
    m = target.seen().operator.codomain.size
    if not folds >= 2:
        raise OptionError(f"{folds} folds leave nothing to learn from; ask for two or more.")
    number = context.rng.child("folds").permutation(m) % min(folds, m)
    return torch.stack([held_out(method, target, number, context.child(k)) for k, method in enumerate(methods)])
