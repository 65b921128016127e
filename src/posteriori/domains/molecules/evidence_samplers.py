"""What other samplers make of the same question with as many energy calls."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.infer import infer
from posteriori.core.random import Rng
from posteriori.core.weights import ess, log_mean_exp, normalised
from posteriori.domains.molecules.evidence import Question
from posteriori.inference.annealed import Annealed
from posteriori.inference.annealed_motion import Motion
from posteriori.inference.hmc import HMC
from posteriori.inference.stratified import wide_gaussian
from posteriori.learn.flow.spline import SplineFlow

MISSED = 0.1
"""A region counts as missed below this share of its true population."""
CHAINS, STEPS = 100, 12
KL_STEPS, KL_BATCH, KL_RATE = 400, 256, 3e-3


@dataclass(frozen=True)
class Other:
    """One sampler on one question.

    Attributes:
        name: of the sampler.
        calls: energies, gradients counted as one.
        log_z_error: |log Z error|; None of a sampler that gives none.
        ess: effective share of its weights; None without weights.
        missed: regions with less than a tenth of their population.
        population_error: largest relative error of a region's population.
        cpu_seconds: spent.
    """

    name: str
    calls: int
    log_z_error: float | None
    ess: float | None
    missed: int
    population_error: float
    cpu_seconds: float


def annealing_alone(question: Question, calls: int, resample: float, seed: int) -> Other:
    """Rows annealed from the wide start alone: sequential Monte Carlo, or importance sampling if ``resample`` is 0."""
    begun = time.process_time()
    wide = wide_gaussian(question.space, question.scale)
    method = Annealed(wide, 800, resample=resample, share=0.9, pilot=800, motion=Motion(1, 5))
    trial = infer(question.target, method, seed=seed)
    assert isinstance(trial, Draws)
    spent = float(trial.stats["calls"].sum())
    rows = max(8, int(800 * (calls - spent) / (0.6 * spent)) // 8 * 8)
    found = infer(
        question.target, Annealed(wide, rows, resample=resample, share=0.9, pilot=800, motion=Motion(1, 5)), seed
    )
    assert isinstance(found, Draws)
    assert found.log_weights is not None
    assert found.log_evidence is not None
    return _other(
        "sequential Monte Carlo" if resample else "annealed importance sampling",
        question,
        found.values,
        found.log_weights,
        round(spent + float(found.stats["calls"].sum())),
        abs(float(found.log_evidence) - question.log_z),
        time.process_time() - begun,
    )


def hmc_alone(question: Question, calls: int, seed: int) -> Other:
    """Chains of tuned HMC from the wide start; they know no log Z."""
    begun = time.process_time()
    moves = max(60, int(calls / (CHAINS * (STEPS + 1) / 2)))
    warmup = max(20, moves // 4)
    wide = wide_gaussian(question.space, question.scale)
    method = HMC(moves - warmup, warmup, CHAINS, STEPS, start=wide)
    found = infer(question.target, method, seed=seed)
    assert isinstance(found, Draws)
    used = round(moves * CHAINS * (STEPS + 1) / 2)
    return _other("HMC", question, found.values, None, used, None, time.process_time() - begun)


def reverse_kl_alone(question: Question, rng: Rng) -> Other:
    """A spline flow trained by reverse KL alone: what it drops, its own weights do not show."""
    begun = time.process_time()
    rows = wide_gaussian(question.space, question.scale).sample(1000, rng.child("start"))
    flow = SplineFlow(question.space, 4, (32, 32), 8, rows=rows, rng=rng.child("weights"))
    adam = torch.optim.Adam(flow.parameters(), KL_RATE)
    for i in range(KL_STEPS):
        x, log_q = flow.push(rng.normal((KL_BATCH, question.space.size)))
        loss = (log_q + question.target.energy(x)).mean()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
        adam.param_groups[0]["lr"] = KL_RATE * (1 - i / KL_STEPS)
        adam.step()
    x, log_q = flow.draw(4000, rng.child("rows"))
    with torch.no_grad():
        raw = -question.target.energy(x) - log_q
    error = abs(float(log_mean_exp(raw)[0]) - question.log_z)
    calls = KL_STEPS * KL_BATCH + len(x)
    return _other("reverse KL alone", question, x, raw, calls, error, time.process_time() - begun)


def populations(question: Question, x: Tensor, log_weights: Tensor | None) -> Tensor:
    """Of the question's regions, from rows (n, d), weighted or not; (regions,)."""
    places = question.places(x.double())
    return places.mean(0) if log_weights is None else normalised(log_weights) @ places


def _other(
    name: str,
    question: Question,
    x: Tensor,
    log_weights: Tensor | None,
    calls: int,
    log_z_error: float | None,
    seconds: float,
) -> Other:
    found, true = populations(question, x, log_weights), question.populations
    share = None if log_weights is None else float(ess(log_weights)) / len(x)
    missed = int((found < MISSED * true).sum())
    return Other(name, calls, log_z_error, share, missed, float((found / true - 1).abs().max()), seconds)
