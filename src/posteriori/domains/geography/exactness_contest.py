"""Samplers of a diffusion prior held against closed forms: Gaussian fields, and fields of two regimes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt

import torch
from torch import Tensor

from posteriori.audit.reliability import calibration_error
from posteriori.core.draws import Draws
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import Method
from posteriori.core.mixture import Mixture
from posteriori.core.posterior import Posterior
from posteriori.core.prior import Denoiser, Samples
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Inverse
from posteriori.core.threads import fixed_threads
from posteriori.domains.geography.exactness import Exactness, Instrument, judge, target_of
from posteriori.inference.conditional_diffusion import SPARSE, ConditionalDiffusion
from posteriori.inference.exact import Exact
from posteriori.inference.mixture_exact import MixtureExact
from posteriori.inference.plug_in.ddrm import DDRM
from posteriori.inference.plug_in.diffpir import DiffPIR
from posteriori.inference.plug_in.dps import DPS
from posteriori.inference.plug_in.guided import Guided
from posteriori.inference.plug_in.pigdm import PiGDM
from posteriori.inference.plug_in.question import Levels
from posteriori.inference.plug_in.repaint import RePaint
from posteriori.inference.plug_in.tweedie import Tweedie
from posteriori.inference.plug_in.twisted import Twisted
from posteriori.learn.diffusion.denoiser import Preconditioned
from posteriori.learn.diffusion.prior import DiffusionPrior
from posteriori.learn.diffusion.training import Fields, LogNormal, NoiseLoss, train
from posteriori.learn.diffusion.unet import UNet
from posteriori.learn.ensemble_covariance import Localisation, choose, localised
from posteriori.learn.plan import Cosine, Plan
from posteriori.learn.random_fields import GaussianField, MixtureField

ANALYTIC, LEARNED = "guided, analytic", "guided, learned"
TWISTED, REFERENCE, CHANCE = "twisted", "Gaussian reference", "exact draws"
MAIN_LEVELS = Levels(10)
USUAL, WIDE = LogNormal(), LogNormal(-0.9, 1.5)
"""Noise levels of training; regimes are told apart by what fields are like at all scales."""
QUANTILES = (0.05, 0.5, 0.95)
CLASS_NOISE = 0.05
"""Noise level at which draws are sorted into regimes, in the field's unit: it hides what a net cannot resolve."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A net that has learnt a law from its draws, and the Gaussian reference of the same draws."""

    prior: DiffusionPrior
    reference: Gaussian
    lengths: tuple[float, ...] | None


def trained(
    law: GaussianField | MixtureField, fields: int, passes: int, context: Context, levels: LogNormal = USUAL
) -> Trained:
    """A U-Net of 16 channels trained on ``fields`` draws of the law; the taper is chosen on quarters left out."""
    space, rng = law.space, context.rng
    history = law.sample(fields, rng.child("history"))
    side = space.shape[0]
    tapers = [Localisation((factor * side,)) for factor in (0.5, 1.0, 2.0, 4.0)]
    chosen = choose(space, history, tapers)
    mean = history.mean(0)
    scale = float((history - mean).square().mean().sqrt())
    with rng.child("net"):
        net = Preconditioned(UNet(width=16, multiples=(1, 2), heads=2))
    plan = Plan(epochs=passes, batch=64, rate=3e-3, schedule=Cosine(0.05), average=0.99)
    values = Fields(((history - mean) / scale)[:, None].float())
    fitted = train(net, values, plan, context.child("training"), loss=NoiseLoss(levels)).net
    denoiser = fitted.eval().requires_grad_(False)
    return Trained(
        DiffusionPrior(space, denoiser, mean, scale), localised(space, history, chosen.best), chosen.best.lengths
    )


def conditional(law: GaussianField, sigma: float, fields: int, passes: int, draws: int, context: Context) -> Method:
    """A denoiser trained with the data of random masks beside the field."""
    with context.rng.child("net"):
        net = Preconditioned(UNet(condition_channels=2, width=16, multiples=(1, 2), heads=2))
    history = law.sample(fields, context.rng.child("history"))
    plan = Plan(epochs=passes, batch=64, rate=3e-3, schedule=Cosine(0.05), average=0.99)
    untrained = ConditionalDiffusion(net, draws)
    return untrained.fit(law.space, history, sigma, SPARSE, plan, context.child("training"))


def plugged(draws: int, selects: bool) -> dict[str, Method]:
    """The peers, at their authors' settings where those have a meaning here."""
    peers: dict[str, Method] = {
        "Tweedie": Tweedie(draws, gradients=10),
        "PiGDM": PiGDM(draws),
        "DDRM": DDRM(draws),
        "DPS": DPS(draws),
        "DiffPIR": DiffPIR(draws),
    }
    return {**peers, "RePaint": RePaint(draws)} if selects else peers


@dataclass(frozen=True, eq=False)
class Example:
    """One problem to look at: truth, data where they are, exact and learned answers."""

    truth: Tensor
    exact: Gaussian
    drawn: Draws


def gaussian_contest(
    law: GaussianField,
    asked: Instrument,
    learnt: Trained,
    counts: tuple[int, int, int],
    context: Context,
    more: Mapping[str, Method],
) -> tuple[dict[str, Exactness], Example]:
    """Every sampler on one question, and ``more``; ``counts``: problems of ours, problems of the peers, draws."""
    problems, fewer, draws = counts
    rng = context.rng
    sd = law.space.unflat(law.covariance.diagonal().sqrt())
    target = target_of(asked, law, float(sd.mean()))
    truth, question = target.simulate(problems, rng.child("truth"))
    ours: dict[str, tuple[Denoiser, Method]] = {
        ANALYTIC: (law, Guided(draws, MAIN_LEVELS)),
        LEARNED: (learnt.prior, Guided(draws, MAIN_LEVELS, learnt.reference)),
    }
    peers = {**plugged(draws, "cell" in asked.operator.codomain.dims), **more}
    found: dict[str, Exactness] = {}
    example: Example | None = None
    with fixed_threads():
        for name, (prior, method) in {**ours, **{n: (law, m) for n, m in peers.items()}}.items():
            n = problems if name in ours else fewer
            part = question.given(question.data[:n])
            exact = Exact()(part, context)
            answer = method(Inverse(part.operator, prior, part.data, part.noise), context.child(name))
            assert isinstance(answer, Draws)
            found[name] = judge(answer, truth[:n], part, exact, sd, rng.child("judge"))
            if name == LEARNED:
                example = Example(truth[0], Exact()(question.given(question.data[0]), context), answer)
    assert example is not None
    return found, example


@dataclass(frozen=True)
class RegimeScore:
    """How right a sampler is about two regimes.

    Attributes:
        class_error: root mean square of P(first regime) less the exact one, over problems.
        brier: of P(first regime) against the true regime.
        calibration: expected calibration error of P(first regime).
        quantile_error: root mean square of the 5, 50 and 95 % points less the exact ones, in sd of the prior.
        coverage: of 90 % intervals.
        evidence_error: root mean square of log p(data) less the exact one; None where it is not known.
        probabilities: P(first regime), (problem,).
    """

    class_error: float
    brier: float
    calibration: float
    quantile_error: float
    coverage: float
    evidence_error: float | None
    probabilities: Tensor


@dataclass(frozen=True, eq=False)
class Regimes:
    """The contest about two regimes.

    Attributes:
        law: the prior.
        truth, label: (problem, *space.shape), and True where the first regime made it.
        exact: the mixture's posterior.
        answers, scores: of each sampler.
    """

    law: MixtureField
    truth: Tensor
    label: Tensor
    exact: Mixture
    answers: Mapping[str, Posterior]
    scores: Mapping[str, RegimeScore]


def regime_contest(
    law: MixtureField, asked: Instrument, learnt: Trained | None, problems: int, particles: int, context: Context
) -> Regimes:
    """Samplers on a question whose regime is in doubt; with a trained denoiser instead of the analytic one if given."""
    rng, space = context.rng, law.space
    sd = space.unflat(law.matched().covariance.diagonal().sqrt())
    target = target_of(asked, law, float(sd.mean()))
    truth, which = law.labelled(problems, rng.child("truth"))
    with torch.no_grad():
        prediction = target.operator.codomain.flat(target.operator(truth))
        question = target.given(target.noise.sample(prediction, rng.child("noise")))
    exact = MixtureExact()(question, context)
    prior, reference = (law, law.matched()) if learnt is None else (learnt.prior, learnt.reference)
    levels = Levels(25)
    methods: dict[str, tuple[Samples, Method]] = {
        TWISTED: (prior, Twisted(particles, levels, reference)),
        "guided": (prior, Guided(particles, levels, reference)),
        REFERENCE: (law.matched(), Exact()),
    }
    if learnt is None:
        methods["Tweedie"] = (law, Tweedie(particles // 4, levels, 5))
    answers: dict[str, Posterior] = {}
    with fixed_threads():
        for name, (own, method) in methods.items():
            answers[name] = method(Inverse(question.operator, own, question.data, question.noise), context.child(name))
    answers[CHANCE] = Draws(space, exact.sample(particles, rng.child("exact")))
    label = which == 0
    scores = {
        name: _regime_score(law, answer, truth, label, exact, sd, rng.child(name)) for name, answer in answers.items()
    }
    return Regimes(law, truth, label, exact, answers, scores)


def _regime_score(
    law: MixtureField, answer: Posterior, truth: Tensor, label: Tensor, exact: Mixture, sd: Tensor, rng: Rng
) -> RegimeScore:
    x, weights = answer.rows(256, rng)
    share = law.shares(x.double(), torch.tensor(CLASS_NOISE))[..., 0]
    stated = ((weights * share).sum(0) / weights.expand_as(share).sum(0)).clamp(0, 1)
    levels = torch.tensor(QUANTILES, dtype=torch.float64)
    quantiles = answer.quantile(levels)
    outcome = label.double()
    evidence = answer.log_evidence if isinstance(answer, Draws) else None
    return RegimeScore(
        class_error=_rms(stated - exact.weights[:, 0]),
        brier=float((stated - outcome).square().mean()),
        calibration=float(calibration_error(stated, outcome, 5).value),
        quantile_error=_rms((quantiles - exact.quantile(levels)) / sd),
        coverage=float(((truth >= quantiles[0]) & (truth <= quantiles[2])).double().mean()),
        evidence_error=None if evidence is None or exact.log_evidence is None else _rms(evidence - exact.log_evidence),
        probabilities=stated,
    )


def worst(found: Mapping[str, Exactness]) -> Exactness:
    """Over several questions: the largest errors, the coverage farthest from 90 %, Bonferroni's p-value."""
    every = list(found.values())
    first = max(every, key=lambda e: e.mean_error)
    far = max(every, key=lambda e: abs(e.coverage - 0.9))
    return replace(
        first,
        sd_error=max(e.sd_error for e in every),
        sd_ratio=max((e.sd_ratio for e in every), key=lambda r: abs(r - 1)),
        coverage=far.coverage,
        coverage_se=far.coverage_se,
        sbc_p=min(1.0, len(every) * min(e.sbc_p for e in every)),
    )


def _rms(x: Tensor) -> float:
    return sqrt(float(x.square().mean()))
