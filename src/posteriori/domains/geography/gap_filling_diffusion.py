"""A diffusion model of what the Gaussian law of gap filling misses, trained on the days left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.geography.gap_filling import Filler, Fold, Model, foretell
from posteriori.inference.local_amplitude import Marginals
from posteriori.inference.residual_diffusion import ResidualDiffusion, learn_residual
from posteriori.learn.plan import Plan, Precision
from posteriori.learn.scale_covariance import Correlations

Case = tuple[Marginals, Tensor, Tensor, Tensor]
EPOCHS = 24
CALIBRATION = 24
"""Cases that the factor and the number of steps are chosen on."""
STEPS = (4, 6, 8, 12)


def trained(folds: Sequence[Fold], model: Model, context: Context) -> ResidualDiffusion:
    """Trained on all folds but the last; its steps and its factor are what gives the last the right spread."""
    shape = folds[0].window.learnt.space.shape
    inner = model.spread
    groups = [_cases(fold, model) for fold in folds]
    plan = Plan(epochs=EPOCHS, batch=16, rate=2e-3, average=0.99, weight_decay=1e-2, precision=Precision.BFLOAT16)
    denoiser = learn_residual([case for group in groups[:-1] for case in group], inner, shape, plan, context)
    held = groups[-1][:: max(1, len(groups[-1]) // CALIBRATION)]
    options = [ResidualDiffusion(inner, denoiser, steps) for steps in STEPS]
    found = [_spread_skill(option, held, shape, context.rng.child("steps")) for option in options]
    best = min(range(len(found)), key=lambda i: abs(found[i] - 1))
    return replace(options[best], factor=1 / found[best])


def drawn(method: ResidualDiffusion, filler: Filler, law: Marginals, rng: Rng) -> Tensor:
    """Members of the cells that ``law`` speaks of, (member, h); the net is shown the middle layer."""
    learnt = filler.window.learnt
    return method.draw(law.layer(filler.model.reach, learnt.space.size), filler.shape, *everywhere(learnt), rng)


def everywhere(learnt: Correlations) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the whole grid, (size,), the common ones where the history knows nothing."""
    maps = []
    for known in (learnt.mean, learnt.std):
        whole = torch.full((learnt.space.size,), float(known.mean()), dtype=torch.float64)
        whole[learnt.cells] = known
        maps.append(whole)
    return maps[0], maps[1]


def _cases(fold: Fold, model: Model) -> list[Case]:
    told, learnt = foretell([fold], model.scales, model.reach), fold.window.learnt
    mean, std = everywhere(learnt)
    laws = (found.layer(model.reach, learnt.space.size) for found in told.found)
    return [(found, truth, mean, std) for found, truth in zip(laws, told.truth, strict=True)]


def _spread_skill(method: ResidualDiffusion, cases: Sequence[Case], shape: tuple[int, ...], rng: Rng) -> float:
    spread = error = 0.0
    for at, (found, truth, mean, std) in enumerate(cases):
        members = method.draw(found, shape, mean, std, rng.child(at))
        spread += float(members.var(0).sum()) * (len(members) + 1) / len(members)
        error += float((members.mean(0) - truth).square().sum())
    return float((spread / error) ** 0.5)
