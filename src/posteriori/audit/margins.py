"""What the marginal figures need of a posterior: closed forms of Gaussian mixtures, or weighted draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.audit import scores
from posteriori.audit.uniformity import pit_draws, pit_mixture
from posteriori.core.draws import Draws
from posteriori.core.gaussian import Gaussian
from posteriori.core.mixture import Mixture
from posteriori.core.posterior import Posterior
from posteriori.core.random import Rng


@dataclass(frozen=True)
class Margins:
    """The law of each case, (*problem, cell): functions of truths of that shape, and arrays.

    ``bounds`` are central intervals, (level, 2, *problem, cell); ``log_score`` is None where there is no density.
    """

    center: Tensor
    spread: Tensor
    bounds: Tensor
    crps: Callable[[Tensor], Tensor]
    pit: Callable[[Tensor], Tensor]
    log_score: Callable[[Tensor], Tensor] | None


def margins(posterior: Posterior, cells: Tensor, levels: Sequence[float], draws: int, rng: Rng) -> Margins:
    """The margins of the flat ``cells``; what is neither Gaussian nor Draws is judged by ``draws`` of its draws."""

    def at(x: Tensor) -> Tensor:
        return posterior.space.flat(x.detach().to("cpu", torch.float64))[..., cells]

    tails = torch.tensor([t for level in levels for t in (0.5 - level / 2, 0.5 + level / 2)], dtype=torch.float64)
    bounds = at(posterior.quantile(tails)).unflatten(0, (len(levels), 2))
    center, spread = at(posterior.center()), at(posterior.spread())
    scores.positive(spread, "the posterior's standard deviation")
    parts = posterior.parts if isinstance(posterior, Mixture) else [posterior]
    if all(isinstance(part, Gaussian) for part in parts):
        means, stds = torch.stack([at(p.center()) for p in parts]), torch.stack([at(p.spread()) for p in parts])
        w = posterior.weights.cpu() if isinstance(posterior, Mixture) else torch.ones(1, dtype=torch.float64)
        w = w if w.ndim == 1 else w.movedim(-1, 0)[..., None].expand_as(means)
        return Margins(
            center,
            spread,
            bounds,
            crps=lambda y: scores.crps_mixture(means, stds, w, y),
            pit=lambda y: pit_mixture(means, stds, w, y),
            log_score=lambda y: scores.log_score_mixture(means, stds, w, y),
        )
    held = posterior if isinstance(posterior, Draws) else Draws(posterior.space, posterior.sample(draws, rng))
    x = at(held.values)
    weights = scores.normalised(None if held.log_weights is None else _wide(held.weights.cpu(), x), x)
    half_gini = (weights * (x - center).abs()).sum(0) - scores.crps_fair(x, center, weights)
    return Margins(
        center,
        spread,
        bounds,
        crps=lambda y: (weights * (x - y).abs()).sum(0) - half_gini,
        pit=lambda y: pit_draws(x, y, rng.child("pit"), weights),
        log_score=None,
    )


def _wide(weights: Tensor, x: Tensor) -> Tensor:
    """Weights (draw, *problem) for every cell."""
    return weights[..., None].expand_as(x)
