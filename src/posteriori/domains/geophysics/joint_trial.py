"""Joint against single inversions, paired over random models whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.gaussian import Gaussian
from posteriori.core.mixture import Mixture
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.threads import side_by_side
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
        answers: by method. "joint", "seismic" and "gravity" share one prior, in which the strength of the link is
            unknown; "seismic, told" and "gravity, told" know it.
        strength: mean correlation that the joint inversion finds, (models,).
        shown: the joint posterior of the first model.
    """

    survey: Survey
    truth: Tensor
    answers: Mapping[str, Sequence[Answer]]
    strength: Tensor
    shown: Mixture

    def errors(self, method: str, part: int | None, deep: bool = True) -> Tensor:
        """Mean square error of each model (models,) in prior standard deviations: velocity (0), density (1), both."""
        sigma = torch.cat([s.flatten() for s in self.survey.sigmas])
        z = (torch.stack([a.mean for a in self.answers[method]]) - self.truth) / sigma
        cells = self.survey.deep_cells if deep else torch.ones_like(self.survey.deep_cells)
        chosen = torch.stack([cells, cells])
        if part is not None:
            chosen[1 - part] = False
        return z[:, chosen.flatten()].square().mean(1)

    def coverage(self, deep: bool = False) -> Tensor:
        """Share of cells inside their central 90 % interval of the joint posterior, for each model (models,)."""
        pit = torch.stack([a.pit for a in self.answers["joint"]])
        inside = ((pit > 0.05) & (pit < 0.95)).double()
        return inside[:, self.survey.deep_cells.repeat(2)].mean(1) if deep else inside.mean(1)


def trial(survey: Survey, models: int, correlation: float, rounds: int, context: Context) -> Trial:
    """``models`` random models whose properties correlate by ``correlation``, each inverted in five ways.

    Models are worked on side by side.
    """
    truth, times, gravity = survey.simulate(models, correlation, context.rng.child("simulation"))
    over = OverLinks()
    strengths = torch.tensor(over.strengths, dtype=torch.float64)

    def one(i: int) -> tuple[dict[str, Answer], Tensor, Mixture]:
        seen = observed(survey, times[i], gravity[i], rounds, context)
        posterior, weights = joint_answer(survey, over, seen, context)
        answers = {"joint": _answer(posterior, truth[i])}
        parts = {"seismic": Observed(seen.seismic, None), "gravity": Observed(None, seen.gravity)}
        # one method alone says nothing of the strength, and its mean is linear in it: the mean strength stands for all
        for told, prior in {"": survey.prior(float(strengths.mean())), ", told": survey.prior(correlation)}.items():
            for name, part in parts.items():
                answers[name + told] = _answer(Exact()(part.question(survey, prior), context), truth[i])
        return answers, weights @ strengths, posterior

    found = list(context.progress(side_by_side(one, range(models)), "models", models))
    answers = {name: [each[name] for each, _, _ in found] for name in found[0][0]}
    return Trial(survey, truth, answers, torch.stack([strength for _, strength, _ in found]), found[0][2])


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
