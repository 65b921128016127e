"""How well a method predicts data that it has not seen, by answering again without each fold."""

from __future__ import annotations

from math import log, pi

import torch
from torch import Tensor

from posteriori.core.errors import UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import Method
from posteriori.core.noise import Noise, Normal
from posteriori.core.operator import Operator
from posteriori.core.posterior import Posterior
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.parts import check_folds, part

ROWS = 2000


def held_out(method: Method, target: Target, folds: Tensor, context: Context) -> Tensor:
    """log p(datum | data of the other folds) by ``method``, float64 (*problem, m), gaps left out.

    Exact for Gaussian answers, linear operators and Normal noise; from draws otherwise.

    Args:
        folds: a fold number for each defined datum, int64 (m,).

    Raises:
        UnanswerableError: the target has no data.
    """
    if not isinstance(target, Inverse):
        raise UnanswerableError(f"{type(target).__name__} has no data that could be held out.")
    whole = target.seen()
    m = whole.operator.codomain.size
    density = torch.empty(*whole.batch, m, dtype=torch.float64)
    for j, index in enumerate(check_folds(folds, m)):
        others = torch.ones(m, dtype=torch.bool)
        others[index] = False
        answer = method(part(whole, others.nonzero()[:, 0]), context.child("fold", j))
        density[..., index] = log_predictive(answer, part(whole, index), context.child("rows", j))
    return density


def log_predictive(posterior: Posterior, new: Inverse, context: Context) -> Tensor:
    """log p(datum) of each of ``new``'s data under ``posterior``, float64 (*problem, m); its prior plays no part."""
    operator, noise = new.operator, new.noise
    data = operator.codomain.flat(new.data).double()
    with torch.no_grad():
        if isinstance(posterior, Gaussian) and operator.linear and isinstance(noise, Normal):
            law = posterior.map(operator)
            variance = operator.codomain.flat(law.spread()).double().square() + noise.variance(data.shape[-1])
            error = data - operator.codomain.flat(law.center()).double()
            return -0.5 * (error.square() / variance + (2 * pi * variance).log())
        return _from_rows(posterior, operator, noise, data, context)


def _from_rows(posterior: Posterior, operator: Operator, noise: Noise, data: Tensor, context: Context) -> Tensor:
    rows = posterior.sample(ROWS, context.rng.child("predictive"))
    prediction = operator.codomain.flat(operator(rows)).double()
    terms = []
    for i in range(data.shape[-1]):
        one = noise.part(torch.tensor([i], device=data.device))
        terms.append(torch.logsumexp(-one.energy(data[..., i : i + 1], prediction[..., i : i + 1]), 0) - log(ROWS))
    return torch.stack(terms, -1)
