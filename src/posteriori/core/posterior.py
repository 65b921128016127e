"""The answer, from every method: summaries with units at the edge, draws and covariances inside."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from posteriori.core import archive
from posteriori.core.errors import DataError, OptionError, ShapeError, UnanswerableError
from posteriori.core.law_file import Law, Rows
from posteriori.core.operator import Operator
from posteriori.core.random import Rng
from posteriori.core.run import Run
from posteriori.core.space import Space
from posteriori.core.support import Circular, Classes

Labelled = xr.DataArray | xr.Dataset
DRAWS = 1000
"""Draws that a summary takes when it needs some and is not told how many."""
SHOWN_DRAWS = 200
"""Rows that the file of a law without rows of its own holds, for programs that read draws."""


class Posterior(nn.Module, ABC):
    """A belief about an unknown; also a prior for the next question.

    Attributes:
        space: what the unknown's axes mean.
        problems: names and labels of the dims in front, one for each question answered at once.
        run: how the answer was made.
        observed: the data it saw, labelled.
        log_evidence: log ∫ exp(-energy) (*problem,), where the method knows it.
        log_evidence_error: its standard error; zero where it is exact.
    """

    space: Space
    problems: Mapping[str, Any]
    run: Run | None
    observed: Labelled | None
    log_evidence: Tensor | None
    log_evidence_error: Tensor | None

    def __init__(self, space: Space, problems: Mapping[str, Any] | None, log_evidence: Tensor | None) -> None:
        super().__init__()
        self.space = space
        self.problems = dict(problems or {})
        self.run = None
        self.observed = None
        self.log_evidence = log_evidence
        self.log_evidence_error = None if log_evidence is None else torch.zeros_like(log_evidence)

    @abstractmethod
    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws, (n, *problem, *space.shape)."""

    @abstractmethod
    def rows(self, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
        """Rows (draw, *problem, *space.shape) and their normalised weights, float64 (draw, *problem or ones).

        ``n`` fresh draws of a law; of one that is known by rows, every row it has.
        """

    @abstractmethod
    def center(self) -> Tensor:
        """The mean, (*problem, *space.shape)."""

    @abstractmethod
    def spread(self) -> Tensor:
        """The standard deviation, (*problem, *space.shape)."""

    @abstractmethod
    def quantile(self, p: Tensor) -> Tensor:
        """Marginal quantiles at ``p`` (q,), (q, *problem, *space.shape).

        Raises:
            OptionError: a level outside [0, 1].
        """

    @abstractmethod
    def covariance_between(self, cells: Tensor) -> Tensor:
        """Covariance of the flat ``cells`` (k,), (*problem, k, k), or (k, k) where all problems share one."""

    @abstractmethod
    def map(
        self,
        f: Operator | Callable[..., Tensor],
        *,
        space: Space | None = None,
        draws: int = DRAWS,
        rng: Rng | None = None,
    ) -> Posterior:
        """The law of ``f(x)``: an Operator, or ``f(x)`` / ``f(x, rng)`` with the ``space`` it gives.

        Exact where both are Gaussian and linear; from ``draws`` otherwise. Every covariance is kept.
        """

    @abstractmethod
    def law(self) -> Law:
        """What this posterior is made of, ready for a file."""

    def mean(self) -> Labelled:
        """The mean, labelled.

        Raises:
            UnanswerableError: a mean of classes has no meaning.
        """
        if isinstance(self.space.support, Classes):
            raise UnanswerableError(f"{self.space.name} takes classes, which have no mean; ask for probability(f).")
        return self._label(self.center())

    def std(self) -> Labelled:
        """The standard deviation, labelled."""
        if isinstance(self.space.support, (Classes, Circular)):
            raise UnanswerableError(f"{type(self.space.support).__name__} values have no standard deviation.")
        return self._label(self.spread())

    def interval(self, level: float = 0.9) -> Labelled:
        """The central credible interval, with a leading dim ``bound`` (lower, upper).

        Raises:
            OptionError: a level outside (0, 1).
        """
        if not 0 < level < 1:
            raise OptionError(f"level {level} is outside (0, 1).")
        if isinstance(self.space.support, (Classes, Circular)):
            raise UnanswerableError(f"{type(self.space.support).__name__} values have no central interval.")
        tails = torch.tensor([0.5 - level / 2, 0.5 + level / 2], dtype=torch.float64)
        return self._label(self.quantile(tails), {"bound": np.array(["lower", "upper"])})

    def cov(self, labels: Any) -> xr.DataArray:
        """Covariance between named elements; of a Space of several dims each label is a tuple.

        Raises:
            ShapeError: a label that the Space lacks.
        """
        names = np.atleast_1d(np.asarray(labels, dtype=object if len(self.space.dims) > 1 else None))
        block = self.covariance_between(self.cells(labels))
        dim = "_".join(self.space.dims)
        keys = names if names.ndim == 1 else np.array([str(tuple(n)) for n in names])
        lead = list(self.problems)[: block.ndim - 2]
        units = f"({self.space.unit})**2"
        values = block.detach().cpu().numpy()
        return xr.DataArray(values, {dim: keys, f"{dim}_2": keys}, (*lead, dim, f"{dim}_2"), attrs={"units": units})

    def cells(self, labels: Any) -> Tensor:
        """Flat positions of named elements, int64 (k,)."""
        if len(self.space.dims) == 1:
            return self.space.index(self.space.dims[0], labels)
        columns = list(zip(*labels, strict=True))
        if len(columns) != len(self.space.dims):
            raise ShapeError(f"elements of {self.space} are named by {self.space.dims}.")
        at = [self.space.index(d, list(c)).numpy() for d, c in zip(self.space.dims, columns, strict=True)]
        return torch.from_numpy(np.ravel_multi_index(at, self.space.shape))

    def probability(self, event: Callable[[Tensor], Tensor], draws: int = DRAWS, rng: Rng | None = None) -> xr.Dataset:
        """P(event), with its Monte-Carlo ``standard_error``: that of independent rows, weighted as they are.

        The error is sqrt(Σ w² (1[event] - P)²); where no row (or every row) is in the event, 1 / (rows + 2).

        Args:
            event: draws (n, *problem, *space.shape) → booleans (n, *any shape).
            draws: rows to take from a law that has none of its own.

        Raises:
            DataError: the event gives no booleans.
        """
        x, w = self.rows(draws, rng or self._rng("probability"))
        happened = event(x)
        if not isinstance(happened, Tensor) or happened.dtype != torch.bool:
            raise DataError("the event must give a tensor of booleans; write a condition, such as lambda x: x > 0.")
        happened = happened.double()
        w = w.reshape(*w.shape, *(1,) * (happened.ndim - w.ndim)).to(happened)
        p = (w * happened).sum(0).clamp(0.0, 1.0)
        seen = (w > 0) & (happened > 0)
        one_sided = ~seen.any(0) | ~((w > 0) & (happened == 0)).any(0)
        error = (w.square() * (happened - p).square()).sum(0).sqrt()
        error = torch.where(one_sided, 1 / (1 / w.square().sum(0) + 2), error)
        dims = (*self.problems, *self.space.dims)
        labels = {**self.problems, **{d: self.space.labels(d) for d in self.space.dims}}
        if p.shape == self.center().shape:
            coords = {d: v for d, v in labels.items() if v is not None}
            coords |= {k: (d, v) for k, (d, v) in self.space.extra.items()}
        else:
            dims, coords = tuple(f"dim_{i}" for i in range(p.ndim)), {}
        pair = {"probability": p, "standard_error": error}
        return xr.Dataset({k: (dims, v.cpu().numpy()) for k, v in pair.items()}, coords)

    def save(self, path: str | Path) -> Path:
        """Write to ``path`` (``.nc`` or ``.zarr``) in ArviZ's groups; :func:`posteriori.load` reads it back."""
        law = self.law()
        rows = law.rows or Rows(self.sample(SHOWN_DRAWS, Rng(0).child("shown")))
        return archive.write(archive.Saved(law, rows, self.run, self.observed), Path(path))

    def made_by(self, run: Run, observed: Labelled | None) -> Self:
        """A copy that knows how it was made."""
        other = copy(self)
        other.run, other.observed = run, observed
        return other

    def _evidence(self) -> dict[str, Tensor]:
        found = {"log_evidence": self.log_evidence, "log_evidence_error": self.log_evidence_error}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def _label(self, tensor: Tensor, leading: Mapping[str, Any] | None = None) -> Labelled:
        named = {**(leading or {}), **self.problems}
        return self.space.dataset(tensor, named) if self.space.parts else self.space.label(tensor, named)

    def _rng(self, *key: str) -> Rng:
        return Rng(0 if self.run is None else self.run.seed).child("posterior", *key)


def checked_levels(p: Tensor) -> Tensor:
    """``p`` itself when all of it lies in [0, 1]; else ``OptionError``."""
    if not bool(((p >= 0) & (p <= 1)).all()):
        raise OptionError(f"quantile levels {p.tolist()} must lie in [0, 1]; 5 % is 0.05.")
    return p


def equal_rows(x: Tensor, problems: int) -> tuple[Tensor, Tensor]:
    """Draws (draw, *problem, *shape) with the weights of :meth:`Posterior.rows`."""
    return x, torch.full((len(x), *(1,) * problems), 1 / len(x), dtype=torch.float64)


def apply_to_draws(
    x: Tensor, f: Operator | Callable[..., Tensor], space: Space | None, rng: Rng
) -> tuple[Tensor, Space]:
    """``f`` of draws (n, *problem, *shape), and the Space it lands in.

    Raises:
        OptionError: a plain function without ``space``.
        ShapeError: values that do not fit ``space``.
    """
    if isinstance(f, Operator):
        with torch.no_grad():
            return f(x), f.codomain
    if space is None:
        raise OptionError("map(f) of a plain function needs space=…, the Space of f(x).")
    wants_rng = len(_positional(f)) > 1
    return space.check(f(x, rng) if wants_rng else f(x), "f(x)"), space


def _positional(f: Callable[..., Tensor]) -> Sequence[inspect.Parameter]:
    try:
        found = inspect.signature(f).parameters.values()
    except ValueError:
        return ()
    return [p for p in found if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
