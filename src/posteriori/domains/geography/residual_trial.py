"""Would a diffusion model of what a law misses do better? Trained on some stretches, tried on the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from posteriori.audit.scores import crps_fair, crps_gaussian
from posteriori.core.run import Context
from posteriori.learn.diffusion.context import ConvGRU, WithContext
from posteriori.learn.diffusion.denoiser import Preconditioned
from posteriori.learn.diffusion.schedule import karras
from posteriori.learn.diffusion.solvers import DPMSolver2M, solve
from posteriori.learn.diffusion.training import Fields, train
from posteriori.learn.diffusion.unet import UNet
from posteriori.learn.plan import Plan, Precision

WORTH = 0.97
"""A diffusion model is worth its cost from this ratio of scores downwards."""
EPOCHS = 24
WIDTH, RECURRENT = 16, 12
MEMBERS, STEPS = 16, (4, 6, 8, 12)
FACTORS = (0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4)
MOST = 24
"""Fields of the last stretch that are tried."""
LOW, HIGH = 0.02, 20.0


@dataclass(frozen=True, eq=False)
class Missed:
    """What a law missed on stretches left out.

    Args:
        error: truth less mean, (n, y, x); NaN where the truth is not known.
        std: that the law stated, (n, y, x).
        told: what a net may know of each case, (n, k, y, x), of about unit size.
        past: fields before, oldest first, of about unit size, (n, time, y, x); no times for none.
        fold: number of each case's stretch, (n,).
        mask: defined cells, (y, x).
        score: CRPS of the law, (n, y, x), where it is not N(mean, std²).
    """

    error: Tensor
    std: Tensor
    told: Tensor
    past: Tensor
    fold: Tensor
    mask: Tensor
    score: Tensor | None = None

    @property
    def known(self) -> Tensor:
        """Where the truth is, (n, y, x)."""
        return self.mask & torch.isfinite(self.error)

    def conditions(self) -> Tensor:
        """Channels for a net, past fields each with their mask last, float32 (n, k + 2 time, y, x)."""
        seen = self.mask.expand_as(self.past).to(self.past)
        past = torch.stack([self.past, seen], 2).flatten(1, 2)
        return torch.cat([self.told, past], 1).float()


def diffusion_over_gaussian(
    missed: Missed,
    keep: Callable[[Tensor], Tensor],
    context: Context,
    epochs: int = EPOCHS,
    steps: Sequence[int] = STEPS,
    factors: Sequence[float] = FACTORS,
) -> float:
    """CRPS of a diffusion model's members over that of the law, on the last stretch left out.

    It is trained on the other stretches. Where there are several, solver steps and a common factor of its spread are
    those that suit the last stretch best, so that the ratio flatters it: above :data:`WORTH` it is not worth keeping.

    Args:
        missed: the law's errors.
        keep: moves errors (member, n, y, x) to where they may lie, such as the null space of block means.
        context: stream, progress and store of the training.
        epochs: of the training.
        steps: of the solver that are tried.
        factors: of the members' deviations from their mean that are tried.
    """
    ratio = torch.where(missed.known, missed.error / missed.std, torch.nan).clamp(-8, 8)[:, None].float()
    told = missed.conditions()
    last = missed.fold == missed.fold.max()
    times, k = missed.past.shape[1], missed.told.shape[1]
    with context.rng.child("net"):
        net = UNet(condition_channels=k + (RECURRENT if times else 0), width=WIDTH, multiples=(1, 2), heads=0)
        whole = WithContext(net, ConvGRU(1, RECURRENT), times) if times else net
    plan = Plan(epochs=epochs, batch=16, rate=2e-3, average=0.99, weight_decay=1e-2, precision=Precision.BFLOAT16)
    rows = Fields(ratio[~last], condition=told[~last])
    denoiser = train(Preconditioned(whole), rows, plan, context.child("residual")).net
    at = last.nonzero()[:, 0]
    at = at[torch.linspace(0, len(at) - 1, MOST).round().long().unique()]
    error, std, known = missed.error[at], missed.std[at], missed.known[at]
    gaussian = crps_gaussian(torch.zeros_like(error), std.clamp_min(1e-300), error)
    own = (gaussian if missed.score is None else missed.score[at])[known].mean()
    scores = []
    for number in steps:
        noise = context.rng.child("noise").normal((MEMBERS, len(at), 1, *missed.mask.shape)).float()
        denoise = partial(denoiser, condition=told[at].expand(MEMBERS, *told[at].shape))
        r = solve(denoise, noise, karras(number, LOW, HIGH), DPMSolver2M())[:, :, 0].double()
        for factor in factors:
            members = keep(std * (r.mean(0) + factor * (r - r.mean(0))))
            scores.append(crps_fair(members[..., known], error[known]).mean())
    return float(min(scores) / own)
