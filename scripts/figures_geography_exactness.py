"""What the samplers of diffusion priors promise where the posterior is known; nothing but closed forms is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from asked import Asked, score, scores

INF = math.inf
STUDY = ("geography/exactness",)
LEARNED = ("geography/exactness", "regimes=learned", "problems=64", "particles=128")
CONDITIONAL = ("geography/exactness", "conditional=true", "problems=48")
QUESTIONS = ("mask", "blocks", "points", "lines")


def each(key: str) -> Callable[[], Mapping[str, float]]:
    """One figure of the sampler with the learned denoiser on every question."""
    return lambda: {question: float(scores(*STUDY)[f"{question}.learned.{key}"]) for question in QUESTIONS}


def beside(key: str) -> Callable[[], Mapping[str, float]]:
    """One figure of the plug-in samplers on every question, and of ours: the first table of the page."""
    samplers = ("analytic", "learned", "tweedie", "pigdm", "ddrm", "dps", "diffpir", "repaint")

    def measured() -> Mapping[str, float]:
        found = scores(*STUDY)
        names = [f"{question}.{name}" for name in samplers for question in QUESTIONS]
        return {name: float(found[f"{name}.{key}"]) for name in names if f"{name}.{key}" in found}

    return measured


def regimes(key: str, *words: str) -> Callable[[], Mapping[str, float]]:
    """One figure of the two regimes for each sampler that has it: the second table of the page."""

    def measured() -> Mapping[str, float]:
        found, names = scores(*words), ("twisted", "guided", "tweedie", "gaussian_reference", "exact_draws")
        every = {name: f"regimes.{name}.{key}" for name in names}
        return {name: float(found[full]) for name, full in every.items() if full in found}

    return measured


ASKED = [
    Asked("GRF, learned denoiser: error of the mean, sd of the prior", 0, 0.03, each("mean_error")),
    Asked("GRF, learned denoiser: r.m.s. error of the sd over cells", 0, 0.05, each("sd_error")),
    Asked("GRF, learned denoiser: coverage of 90 %", 0.88, 0.92, each("coverage")),
    Asked("GRF, learned denoiser: SBC p-value", 0.01, 1, each("sbc_p")),
    Asked("GRF, analytic denoiser: error of the mean, worst question", 0, 0.03, score("analytic.mean_error", *STUDY)),
    Asked("GRF, analytic denoiser: error of the sd, worst question", 0, 0.05, score("analytic.sd_error", *STUDY)),
    Asked("GRF: error of the mean of every sampler (shown)", 0, INF, beside("mean_error")),
    Asked("GRF: sd / exact sd of every sampler (shown)", 0, INF, beside("sd_ratio")),
    Asked("GRF: coverage of 90 % of every sampler (shown)", 0, 1, beside("coverage")),
    Asked(
        "GRF, mask: error of the mean, conditional training (shown)",
        0,
        INF,
        score("mask.conditional.mean_error", *CONDITIONAL),
    ),
    Asked(
        "GRF, mask: sd / exact sd, conditional training (shown)",
        0,
        INF,
        score("mask.conditional.sd_ratio", *CONDITIONAL),
    ),
    Asked("two regimes: error of P(regime), twisted", 0, 0.1, score("regimes.twisted.class_error", *STUDY)),
    Asked(
        "two regimes: error of P(regime), Gaussian reference",
        0.2,
        1,
        score("regimes.gaussian_reference.class_error", *STUDY),
    ),
    Asked(
        "two regimes: error of P(regime), twisted with a learned denoiser",
        0,
        0.1,
        score("regimes.twisted.class_error", *LEARNED),
    ),
    Asked("two regimes: error of P(regime) of every sampler (shown)", 0, INF, regimes("class_error", *STUDY)),
    Asked("two regimes: Brier score of every sampler (shown)", 0, 1, regimes("brier", *STUDY)),
    Asked("two regimes: error of quantiles of every sampler (shown)", 0, INF, regimes("quantile_error", *STUDY)),
    Asked("two regimes: error of log evidence (shown)", 0, INF, regimes("evidence_error", *STUDY)),
    Asked("two regimes, learned: error of P(regime) (shown)", 0, INF, regimes("class_error", *LEARNED)),
    Asked("two regimes, learned: Brier score (shown)", 0, 1, regimes("brier", *LEARNED)),
    Asked("two regimes, learned: error of quantiles (shown)", 0, INF, regimes("quantile_error", *LEARNED)),
    Asked("two regimes, learned: error of log evidence (shown)", 0, INF, regimes("evidence_error", *LEARNED)),
]
