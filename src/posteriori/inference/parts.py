"""The same question with fewer data, or with its prior written out once."""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor

from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import DataError
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Compose, Operator, Selection
from posteriori.core.prior import GaussianLaw, Samples
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.target import Inverse, Target


def part(target: Inverse, index: Tensor) -> Inverse:
    """The question that the data at the flat positions ``index`` (k,) ask alone; learnt parts are shared."""
    whole = target.operator.codomain
    space = Space(whole.name, {"datum": index.cpu().numpy()}, whole.unit, whole.support)
    operator: Operator
    if isinstance(target.operator, Selection):
        operator = Selection(target.operator.domain, space, target.operator.index[index])
    else:
        operator = Compose(Selection(whole, space, index), target.operator)
    fewer = Inverse(operator, target.prior, whole.flat(target.data)[..., index], target.noise.part(index))
    fewer.problems = target.problems
    return fewer


def written_out(target: Target) -> Target:
    """The same question with its Gaussian prior, if it has one, written out as a matrix: for methods that ask often."""
    if not isinstance(target, Inverse) or not isinstance(target.prior, GaussianLaw):
        return target
    if isinstance(target.prior, Gaussian) and isinstance(target.prior.covariance, DenseCovariance):
        return target
    other = copy(target)
    other._modules = dict(target._modules)
    with torch.no_grad():
        dense = DenseCovariance(target.prior.covariance.dense())
    other.prior = Gaussian(target.space, target.prior.location, dense)
    return other


def rows_for(law: Samples, n: int, batch: tuple[int, ...], rng: Rng) -> Tensor:
    """``n`` draws for each problem, (n, *batch, *space.shape), of a law that has these problems or none.

    Raises:
        DataError: the law has other problems.
    """
    x = law.sample(n, rng)
    if x.shape[1:] == (*batch, *law.space.shape):
        return x
    if x.shape[1:] != law.space.shape:
        raise DataError(f"draws {tuple(x.shape)} do not fit problems {batch} of {law.space}.")
    more = law.sample(n * torch.Size(batch).numel(), rng)
    return more.reshape(n, *batch, *law.space.shape)


def check_folds(folds: Tensor, m: int) -> list[Tensor]:
    """Positions of each fold's data, from a fold number for each of ``m`` data.

    Raises:
        DataError: another length, or fewer than two folds.
    """
    if folds.shape != (m,):
        raise DataError(f"fold numbers {tuple(folds.shape)} do not fit {m} data; give one for each datum.")
    numbers = folds.unique()
    if len(numbers) < 2:
        raise DataError("one fold leaves nothing to learn from; give at least two fold numbers.")
    return [(folds == number).nonzero()[:, 0] for number in numbers]
