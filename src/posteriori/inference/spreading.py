"""A posterior spread about its centre by one factor, its samples, intervals and covariance alike."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.core.covariance import ScaledCovariance
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.mixture import Mixture
from posteriori.core.posterior import Posterior
from posteriori.core.support import Circular
from posteriori.inference.unconstrained import Unconstrained


def spread_by(posterior: Posterior, factor: float) -> Posterior:
    """``posterior`` with every deviation from its centre multiplied by ``factor``; draws stay inside their support.

    Raises:
        UnanswerableError: a law of classes, which has no spread.
        DataError: a factor that is not positive.
    """
    if not factor > 0:
        raise DataError(f"a posterior cannot be spread by {factor}.")
    return _about(posterior, center_of(posterior), factor)


def center_of(posterior: Posterior) -> Tensor:
    """The point to spread about, in coordinates without borders, (*problem, *space.shape).

    Raises:
        UnanswerableError: a law without such a point.
    """
    if isinstance(posterior, (Gaussian, Mixture)):
        return posterior.center()
    if not isinstance(posterior, Draws) or isinstance(posterior.space.support, Circular):
        raise UnanswerableError(
            f"a {type(posterior).__name__} of {type(posterior.space.support).__name__} values cannot be spread about a "
            "centre; calibrate its probabilities instead."
        )
    w = posterior.weights
    w = w.reshape(*w.shape, *(1,) * len(posterior.space.shape))
    moved = coordinates(posterior, posterior.values).double()
    return torch.where(w > 0, w * moved, 0.0).sum(0).to(posterior.values)


def coordinates(posterior: Posterior, x: Tensor) -> Tensor:
    """``x`` (*batch, *space.shape) in the coordinates that the spreading happens in: without borders for Draws."""
    if not isinstance(posterior, Draws):
        return x
    return posterior.space.unflat(Unconstrained(posterior.space, "Conformal").coordinates(x))


def _about(posterior: Posterior, centre: Tensor, factor: float) -> Posterior:
    spread: Posterior
    if isinstance(posterior, Gaussian):
        scale = torch.full((1,), factor, dtype=posterior.covariance.like.dtype, device=posterior.covariance.like.device)
        spread = Gaussian(
            posterior.space,
            centre + factor * (posterior.location - centre),
            ScaledCovariance(posterior.covariance, scale),
            problems=posterior.problems,
        )
    elif isinstance(posterior, Mixture):
        _refuse_borders(posterior)
        spread = Mixture([_about(part, centre, factor) for part in posterior.parts], posterior.weights)
    elif isinstance(posterior, Draws):
        moved = centre + factor * (coordinates(posterior, posterior.values) - centre)
        values = Unconstrained(posterior.space, "Conformal").values(posterior.space.flat(moved))
        spread = Draws(
            posterior.space,
            values,
            posterior.log_weights,
            chains=posterior.chains,
            problems=posterior.problems,
            stats=posterior.stats,
        )
    else:
        raise UnanswerableError(f"a {type(posterior).__name__} cannot be spread; calibrate its probabilities instead.")
    spread.log_evidence, spread.log_evidence_error = posterior.log_evidence, posterior.log_evidence_error
    return spread


def _refuse_borders(mixture: Mixture) -> None:
    bounded = not Unconstrained(mixture.space, "Conformal").everywhere
    if bounded and not all(isinstance(part, Gaussian) for part in mixture.parts):
        raise UnanswerableError(
            f"a mixture of draws within {mixture.space.support} has no common coordinates to be spread in; make it "
            "Draws first: Draws(mixture.space, mixture.sample(n, rng))."
        )
