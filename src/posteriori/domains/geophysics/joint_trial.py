"""Joint against single inversions, paired over random models whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.gaussian import Gaussian
from posteriori.core.mixture import Mixture
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.geophysics.joint import Observed, Survey, observed
from posteriori.domains.geophysics.joint_links import OverLinks
from posteriori.inference.exact import Exact

RESAMPLES = 2000


@dataclass(frozen=True)
class Answer:
    """One inversion of one model, flat over velocity and density: mean, spread, and where the truth falls in it."""

    mean: Tensor
    std: Tensor
    pit: Tensor


@dataclass(frozen=True)
class Trial:
    """All inversions of ``models``; lists run along the models.

    Attributes:
        survey: what was measured.
        truth: (models, 2 cells).
        joint, seismic, gravity: the answers; the singles know the strength of the link, the joint one learns it.
        strength: mean correlation that the joint inversion finds, (models,).
        linked: probability of any link at all, (models,).
    """

    survey: Survey
    truth: Tensor
    joint: Sequence[Answer]
    seismic: Sequence[Answer]
    gravity: Sequence[Answer]
    strength: Tensor
    linked: Tensor

    def errors(self, answers: Sequence[Answer], part: int | None, deep: bool = True) -> Tensor:
        """Mean square error of each model (models,), in prior standard deviations; of velocity (0), density (1), both."""
        sigma = torch.cat([s.flatten() for s in self.survey.sigmas])
        z = (torch.stack([a.mean for a in answers]) - self.truth) / sigma
        cells = self.survey.deep_cells if deep else torch.ones_like(self.survey.deep_cells)
        chosen = torch.stack([cells, cells])
        if part is not None:
            chosen[1 - part] = False
        return z[:, chosen.flatten()].square().mean(1)

    def coverage(self, answers: Sequence[Answer], deep: bool = False) -> Tensor:
        """Share of cells inside their central 90 % interval, for each model (models,)."""
        pit = torch.stack([a.pit for a in answers])
        inside = ((pit > 0.05) & (pit < 0.95)).double()
        return inside[:, self.survey.deep_cells.repeat(2)].mean(1) if deep else inside.mean(1)


def trial(survey: Survey, models: int, correlation: float, rounds: int, context: Context) -> Trial:
    """``models`` random models whose properties correlate by ``correlation``, each inverted thrice."""
    truth, times, gravity = survey.simulate(models, correlation, context.rng.child("simulation"))
    data = observed(survey, times, gravity, rounds, context)
    known = survey.prior(correlation)
    over = OverLinks()
    strengths = torch.tensor(over.strengths, dtype=torch.float64)
    joint: list[Answer] = []
    seismic: list[Answer] = []
    alone: list[Answer] = []
    found: list[Tensor] = []
    linked: list[Tensor] = []
    for x, seen in context.progress(list(zip(truth, data, strict=True)), "models", models):
        answer, weights = joint_answer(survey, over, seen, context)
        joint.append(_answer(answer, x))
        found.append(weights @ strengths)
        linked.append(1 - weights[strengths == 0].sum())
        for kept, part in ((seismic, Observed(seen.seismic, None)), (alone, Observed(None, seen.gravity))):
            kept.append(_answer(Exact()(part.question(survey, known), context), x))
    return Trial(survey, truth, joint, seismic, alone, torch.stack(found), torch.stack(linked))


def joint_answer(survey: Survey, over: OverLinks, seen: Observed, context: Context) -> tuple[Mixture, Tensor]:
    """The joint posterior of one model, and the probabilities of the strengths; those below 10⁻⁴ are left out."""
    answers, weights = over.answers(seen.question(survey, survey.prior(0.0)), context)
    heard = (weights > 1e-4).nonzero()[:, 0].tolist()
    return Mixture([answers[k] for k in heard], weights[heard]), weights


def _answer(posterior: Gaussian | Mixture, truth: Tensor) -> Answer:
    parts, weights = (posterior.parts, posterior.weights) if isinstance(posterior, Mixture) else ([posterior], None)
    w = torch.ones(1, dtype=torch.float64) if weights is None else weights
    below = torch.stack([torch.special.ndtr((truth - p.center()) / p.spread()) for p in parts])
    return Answer(posterior.center(), posterior.spread(), w @ below)


def gain(better: Tensor, worse: Tensor, rng: Rng) -> tuple[float, float, float]:
    """1 - root mean square of ``better`` over that of ``worse`` (mean squares of each model), and its 95 % interval.

    The interval is the bootstrap's, models resampled in pairs.
    """
    index = rng.integers(len(better), (RESAMPLES, len(better)))
    ratios = 1 - (better[index].mean(1) / worse[index].mean(1)).sqrt()
    low, high = torch.quantile(ratios, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return float(1 - (better.mean() / worse.mean()).sqrt()), low, high
