"""Joint mass tables: draws of a whole chart at once, from one Cholesky factor however many parts its law has."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.covariance import Covariance, cholesky
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.domains.nuclei.law import Question

ROWS_AT_ONCE = 1024
REACH = 0.9  # share of a chart that a baseline must reach to speak for all of it


def far_reaching(question: Question, cells: Space) -> Question:
    """The question with those of its baselines alone that reach 90 % of ``cells``.

    A joint law needs every baseline at each of its nuclei, so that one that ends early would cut the whole chart.

    Raises:
        OptionError: none does.
    """
    sizes = {name: question.target(cells, name).space.size for name in question.baselines}
    kept = tuple(name for name, size in sizes.items() if size >= REACH * cells.size)
    if not kept:
        raise OptionError(f"no baseline reaches {REACH:.0%} of {cells.size} nuclei ({sizes}); take dz10.")
    return replace(question, baselines=kept)


@torch.no_grad()
def joint_tables(law: Gaussian, n: int, rng: Rng) -> Tensor:
    """``n`` joint draws of ``law``, (n, cells) [its unit].

    ``Gaussian.sample`` draws the parts of a sum one by one, with a factor for each; here the parts are added into one
    lower triangle first, which is factorised once.

    Raises:
        OptionError: no draw is asked for.
        MemoryBudgetError: the covariance and its factor do not fit.
    """
    if n < 1:
        raise OptionError(f"draws={n}; ask for one or more.")
    cells = law.space.size
    memory.require(8 * cells * (2 * cells + n), f"{n} joint tables of {cells} nuclei", "take a smaller zmax")
    root = cholesky(lower_triangle(law.covariance))
    white = rng.normal((n, cells), root)
    tables = law.space.flat(law.location).expand(n, cells).clone()
    for rows in torch.arange(cells).split(ROWS_AT_ONCE):
        start, stop = int(rows[0]), int(rows[-1]) + 1
        tables[:, start:stop] += white[:, :stop] @ root[start:stop, :stop].mT
    return tables


@torch.no_grad()
def lower_triangle(covariance: Covariance) -> Tensor:
    """The lower triangle of a covariance as a dense (n, n) matrix, zero above the blocks on the diagonal.

    Worked out in strips of rows, so that the only whole matrix in memory is the result, and half of the work is saved.
    """
    covariance.diagonal()  # lets a conditioned part keep its whole whitened cross-covariance for the strips
    every = torch.arange(covariance.size, device=covariance.like.device)
    lower = torch.zeros(covariance.size, covariance.size, dtype=covariance.like.dtype, device=covariance.like.device)
    for rows in every.split(ROWS_AT_ONCE):
        stop = int(rows[-1]) + 1
        lower[rows[0] : stop, :stop] = covariance.block(rows, every[:stop])
    return lower
