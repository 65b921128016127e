"""Posteriors spread by one factor, learnt where the truth is known, until their intervals hold as often as they say."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import xarray as xr
from torch import Tensor

from posteriori.core.errors import DataError, OptionError, UnanswerableError
from posteriori.core.infer import Method
from posteriori.core.operator import Selection
from posteriori.core.posterior import Posterior
from posteriori.core.random import Rng
from posteriori.core.run import Context, Run, describe, digest, references, versions
from posteriori.core.target import Inverse, Target
from posteriori.core.threads import THREADS, fixed_threads
from posteriori.inference.exact import Exact
from posteriori.inference.problems import regression
from posteriori.inference.spreading import center_of, coordinates, spread_by

Pairs = Sequence[tuple[Target, Tensor | xr.DataArray]] | Callable[[int, Rng], tuple[Tensor, Inverse]]
EDGE = 1e-300


@dataclass(frozen=True)
class Conformal:
    """The inner method's answer, spread about its centre by one ``factor``.

    ``fit`` asks the inner method about problems whose truth is known and takes as factor the conformal quantile of the
    spreading that each truth needs to fall into its central interval of ``level``. On new problems exchangeable with
    those, that interval then holds at least a share ``level`` of the truths, whatever the inner method; samples,
    intervals and covariance are all spread alike and still agree. At other levels the repair is only as good as the
    inner law's shape.

    Args:
        method: gives the answer to repair.
        level: of the intervals to be right.
        factor: the learnt spreading; None before ``fit``.
        run: how it was learnt.

    Reference: Vovk, Gammerman & Shafer (2005), Algorithmic Learning in a Random World, Springer; Tibshirani, Barber,
    Candès & Ramdas (2019), Conformal prediction under covariate shift, NeurIPS 32; Dunn, Wasserman & Ramdas (2023),
    Distribution-free prediction sets for two-layer hierarchical models, JASA 118, 2491.
    """

    method: Method
    level: float = 0.9
    factor: float | None = None
    run: Run | None = None

    bias: ClassVar[str] = (
        "Right on average at one level; at others, and for single problems, as wrong as the inner law."
    )
    references: ClassVar[tuple[str, ...]] = (
        "Vovk, Gammerman & Shafer (2005), Algorithmic Learning in a Random World, Springer.",
        "Tibshirani, Barber, Candès & Ramdas (2019), Conformal prediction under covariate shift, NeurIPS 32.",
        "Dunn, Wasserman & Ramdas (2023), Distribution-free prediction sets for two-layer hierarchical models, "
        "JASA 118, 2491.",
    )

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise OptionError(f"level {self.level} is outside (0, 1).")

    def __call__(self, target: Target, context: Context) -> Posterior:
        """The inner answer, spread.

        Raises:
            UnanswerableError: nothing was learnt yet.
        """
        if self.factor is None:
            raise UnanswerableError(
                "this Conformal has learnt no factor; call fit(target.simulate) or fit(pairs) first."
            )
        return spread_by(self.method(target, context), self.factor)

    def fit(
        self,
        pairs: Pairs,
        seed: int = 0,
        problems: int = 500,
        weights: Tensor | None = None,
        weight_of_new: float | None = None,
    ) -> Conformal:
        """A copy that knows its factor and the Run of its training.

        Args:
            pairs: ``target.simulate``, or (target, truth) for each case; a truth labelled on part of the Space
                counts where it is known.
            seed: of the simulation and of the inner method.
            problems: how many to simulate.
            weights: of each case, (n,), where new problems are of another kind than those at hand: the ratio of
                their densities, new to old (weighted conformal).
            weight_of_new: that ratio at the problem to come; the largest of ``weights`` without, which is safe.

        Raises:
            DataError: too few cases for the level, or weights that do not fit.
        """
        wall, cpu = time.perf_counter(), time.process_time()
        context = Context(Rng(seed))
        with fixed_threads():
            if callable(pairs):
                truth, target = pairs(problems, context.rng.child("truth"))
                answer = self.method(target, context.child("answers"))
                needed = list(needed_spread(answer, truth, self.level).reshape(len(truth), -1))
            else:
                needed = [self._needed(target, truth, context.child(i)) for i, (target, truth) in enumerate(pairs)]
        factor = conformal_quantile(needed, self.level, weights, weight_of_new)
        run = Run(
            method=describe(replace(self, factor=None, run=None)),
            seed=seed,
            device=context.device,
            threads=THREADS,
            versions=versions(),
            hashes={"needed_spread": digest(torch.cat(needed))},
            wall_seconds=time.perf_counter() - wall,
            cpu_seconds=time.process_time() - cpu,
            references=references(self),
        )
        return replace(self, factor=factor, run=run)

    def _needed(self, target: Target, truth: Tensor | xr.DataArray, context: Context) -> Tensor:
        answer = self.method(target, context)
        space = answer.space
        if isinstance(truth, xr.DataArray):
            for dim in space.dims:
                if dim not in truth.coords:
                    raise DataError(f"a truth has no labels along {dim!r}; assign_coords({dim}=…) first.")
                if len(truth[dim]) < len(answer.space.labels(dim)):
                    answer = answer.map(Selection.along(answer.space, dim, truth[dim].values))
            truth = answer.space.align(truth, "truth")
        return needed_spread(answer, truth, self.level).reshape(-1)

    @staticmethod
    def example() -> tuple[Conformal, Inverse]:
        """Around an exact answer, which needs a factor near one."""
        target = regression()
        return Conformal(Exact()).fit(target.simulate, problems=200), target


def needed_spread(posterior: Posterior, truth: Tensor, level: float) -> Tensor:
    """The factor that would bring each truth (*problem, *space.shape) to the edge of its central interval."""
    tails = torch.tensor([0.5 - level / 2, 0.5 + level / 2], dtype=torch.float64)
    low, high = coordinates(posterior, posterior.quantile(tails)).double()
    centre = center_of(posterior).double()
    gap = coordinates(posterior, truth).double() - centre
    arm = torch.where(gap > 0, high - centre, centre - low).clamp_min(EDGE)
    return gap.abs() / arm


def conformal_quantile(
    needed: Sequence[Tensor], level: float, weights: Tensor | None = None, weight_of_new: float | None = None
) -> float:
    """The weighted quantile at ``level`` of scores: cells share the weight of their case, the new case is at infinity.

    Raises:
        DataError: no case, weights that do not fit, or too few cases: the quantile would be infinite.
    """
    if not needed:
        raise DataError("conformal repair needs cases whose truth is known.")
    w = torch.ones(len(needed), dtype=torch.float64) if weights is None else weights.double()
    if w.shape != (len(needed),) or bool((w < 0).any()) or not bool(torch.isfinite(w).all()) or not float(w.sum()) > 0:
        raise DataError(f"weights {tuple(w.shape)} should be {len(needed)} finite numbers ≥ 0, not all zero.")
    new = float(w.max()) if weight_of_new is None else weight_of_new
    scores = torch.cat([case.double() for case in needed])
    each = torch.cat([(share / len(case)).expand(len(case)) for share, case in zip(w, needed, strict=True)])
    order = scores.argsort()
    reached = each[order].cumsum(0) / (w.sum() + new)
    at = int(torch.searchsorted(reached, torch.tensor(level, dtype=torch.float64) - 1e-12))
    if at >= len(scores):
        raise DataError(
            f"{len(needed)} cases (effectively {float(w.sum() / new):.1f}) cannot give level {level}; "
            f"at least {level / (1 - level):.0f} are needed."
        )
    return float(scores[order[at]])
