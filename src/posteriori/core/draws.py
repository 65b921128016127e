"""A posterior known by draws, weighted or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import pi
from typing import Any

import torch
from torch import Tensor

from posteriori.core import weights
from posteriori.core.errors import DataError, UnanswerableError
from posteriori.core.law_file import Law, Rows
from posteriori.core.operator import Operator
from posteriori.core.posterior import DRAWS, Posterior, apply_to_draws, checked_levels
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Circular

RAW_WEIGHT = "raw_log_weight"
"""The figure of each row that holds its log-weight before smoothing."""


class Draws(Posterior):
    """Rows (draw, *problem, *space.shape), with unnormalised log-weights where they are not equal.

    Args:
        space: what a row's axes mean.
        values: the rows; with several chains, chain after chain.
        log_weights: (draw, *problem), unnormalised, rejected rows kept as -inf; None for equal weights. Values of
            rejected rows that are not finite become zero.
        chains: number of chains the rows come from, in equal parts.
        problems: names and labels of the problem dims.
        log_evidence: where the sampler knows it, e.g. the log of the mean weight.
        stats: figures of each row, (draw, …), saved as ``sample_stats``.

    Raises:
        DataError: no rows, values that are not finite in rows of positive weight, or all weights zero.
    """

    def __init__(
        self,
        space: Space,
        values: Tensor,
        log_weights: Tensor | None = None,
        *,
        chains: int = 1,
        problems: Mapping[str, Any] | None = None,
        log_evidence: Tensor | None = None,
        stats: Mapping[str, Tensor] | None = None,
    ) -> None:
        space.check(values, "draws")
        lead = values.ndim - len(space.shape) - 1
        names = dict(problems or {})
        if len(names) != lead:
            names = dict.fromkeys(["problem"] if lead == 1 else [f"problem_{i}" for i in range(lead)])
        super().__init__(space, names, log_evidence)
        if values.shape[0] == 0 or values.shape[0] % chains:
            raise DataError(f"{values.shape[0]} draws cannot come from {chains} equal chains.")
        values = _usable_rows(space, values, log_weights)
        self.register_buffer("values", values)
        self.register_buffer("log_weights", log_weights)
        self.values: Tensor
        self.log_weights: Tensor | None
        self.chains = chains
        self.stats = dict(stats or {})

    @property
    def weights(self) -> Tensor:
        """Normalised weights, (draw, *problem), float64."""
        if self.log_weights is None:
            n = self.values.shape[0]
            return torch.full((n, *(1,) * len(self.problems)), 1 / n, dtype=torch.float64, device=self.values.device)
        return weights.normalised(self.log_weights)

    def ess(self) -> Tensor:
        """Effective sample size: of the weights (*problem,), or of the chains (*problem, *space.shape)."""
        if self.log_weights is not None:
            return weights.ess(self.log_weights)
        return weights.chain_ess(self._by_chain())

    def pareto_k(self) -> Tensor:
        """k̂ of the weights as they were before any smoothing, (*problem,); above 0.7 they are not to be trusted.

        Raises:
            UnanswerableError: the rows have equal weights.
        """
        if self.log_weights is None:
            raise UnanswerableError("k̂ speaks of importance weights, and these draws have none; ask ess() or rhat().")
        return weights.pareto_smooth(self.stats.get(RAW_WEIGHT, self.log_weights))[1]

    def rhat(self) -> Tensor:
        """Rank-normalised split R̂, (*problem, *space.shape)."""
        return weights.split_rhat(self._by_chain())

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` rows drawn with their weights; without weights a random subset, with repeats only if ``n`` is more."""
        total = self.values.shape[0]
        if self.log_weights is None:
            order = rng.permutation(total) if n <= total else rng.integers(total, (n,))
            return self.values[order[:n].to(self.values.device)]
        index = systematic(self.weights.reshape(total, -1), n, rng)
        flat = self.values.reshape(total, index.shape[1], -1)
        rows = torch.gather(flat, 0, index[:, :, None].expand(-1, -1, flat.shape[-1]))
        return rows.reshape(n, *self.values.shape[1:])

    def rows(self, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
        return self.values, self.weights

    def center(self) -> Tensor:
        if isinstance(self.space.support, Circular):
            turn = 2 * pi / self.space.support.period
            w = self._column_weights()
            s, c = (w * (self.values * turn).sin()).sum(0), (w * (self.values * turn).cos()).sum(0)
            return torch.atan2(s, c) / turn % self.space.support.period
        return (self._column_weights() * self.values).sum(0)

    def spread(self) -> Tensor:
        self._need_rows("std")
        centred = self.values - self.center()
        w = self._column_weights()
        unbiased = 1 - w.square().sum(0)
        return ((w * centred.square()).sum(0) / unbiased).sqrt()

    def quantile(self, p: Tensor) -> Tensor:
        self._need_rows("interval")
        order = self.values.argsort(0)
        ranked = self.values.gather(0, order)
        edges = self._column_weights().double().expand_as(self.values).gather(0, order).cumsum(0)
        edges = edges / edges[-1].clone()
        return torch.stack([_weighted_quantile(ranked, edges, float(q)) for q in checked_levels(p)])

    def covariance_between(self, cells: Tensor) -> Tensor:
        self._need_rows("cov")
        x = self.space.flat(self.values)[..., cells].movedim(0, -2)
        w = self.weights.to(x.dtype).movedim(0, -1)[..., None]
        centred = x - (w * x).sum(-2, keepdim=True)
        return (w * centred).mT @ centred / (1 - w.square().sum(-2, keepdim=True))

    def map(
        self,
        f: Operator | Callable[..., Tensor],
        *,
        space: Space | None = None,
        draws: int = DRAWS,
        rng: Rng | None = None,
    ) -> Draws:
        """``f`` of every row; weights stay."""
        values, landed = apply_to_draws(self.values, f, space, rng or self._rng("map"))
        problems = self.problems if values.ndim - len(landed.shape) - 1 == len(self.problems) else None
        mapped = Draws(landed, values, self.log_weights, chains=self.chains, problems=problems)
        mapped.run, mapped.log_evidence = self.run, self.log_evidence
        return mapped

    def law(self) -> Law:
        tensors = {"values": self.values, **{f"stat_{name}": values for name, values in self.stats.items()}}
        weights = {} if self.log_weights is None else {"log_weight": self.log_weights}
        rows = Rows(self.values, self.chains, {**weights, **self.stats})
        facts = {"chains": self.chains, "stats": list(self.stats)}
        return Law("Draws", self.space, self.problems, {**tensors, **weights, **self._evidence()}, facts, rows=rows)

    @staticmethod
    def of(law: Law) -> Draws:
        """The draws whose :meth:`law` was kept."""
        stats = {name: law.tensors[f"stat_{name}"] for name in law.facts["stats"]}
        weights, chains = law.tensors.get("log_weight"), law.facts["chains"]
        return Draws(law.space, law.tensors["values"], weights, chains=chains, problems=law.problems, stats=stats)

    def _by_chain(self) -> Tensor:
        return self.values.reshape(self.chains, -1, *self.values.shape[1:]).transpose(0, 1)

    def _column_weights(self) -> Tensor:
        w = self.weights.to(self.values.dtype)
        return w.reshape(*w.shape, *(1,) * len(self.space.shape))

    def _need_rows(self, what: str) -> None:
        if self.values.shape[0] < 2:
            raise UnanswerableError(f"{what} of one row is not an uncertainty; use a method that gives a posterior.")
        if self.log_weights is not None and bool((weights.ess(self.log_weights) < 1 + 1e-9).any()):
            raise UnanswerableError(
                f"{what}: one row has all the weight, so none is left to differ; widen the proposal."
            )


def systematic(w: Tensor, n: int, rng: Rng) -> Tensor:
    """Positions (n, p) of ``n`` systematic draws from the columns of weights (draw, p), shuffled."""
    edges = w.cumsum(0)
    edges = edges / edges[-1]
    start = rng.uniform((w.shape[1],), w)
    points = (torch.arange(n, dtype=w.dtype, device=w.device)[:, None] + start) / n
    index = torch.searchsorted(edges.mT.contiguous(), points.mT.contiguous(), right=True).mT.clamp_max(len(w) - 1)
    return index[rng.permutation(n).to(w.device)]


def _weighted_quantile(ranked: Tensor, edges: Tensor, p: float) -> Tensor:
    """The mean of the weighted quantile function over [(1 - 1/n) p, (1 - 1/n) p + 1/n], n the effective sample size.

    Equal weights give the usual linear interpolation; a row of tiny weight, however far out, moves nothing.

    Reference: Akinshin (2023), Weighted quantile estimators, arXiv 2304.07265.
    """
    share = edges.diff(dim=0, prepend=torch.zeros_like(edges[:1])).square().sum(0)
    low = (1 - share) * p
    below = ((edges - low) / share).clamp(0, 1)
    part = below.diff(dim=0, prepend=torch.zeros_like(below[:1]))
    return (part.to(ranked.dtype) * ranked).sum(0)


def _usable_rows(space: Space, values: Tensor, log_weights: Tensor | None) -> Tensor:
    good = torch.isfinite(space.flat(values)).all(-1)
    if log_weights is not None:
        if bool(torch.isnan(log_weights).any()) or bool((log_weights == torch.inf).any()):
            raise DataError("a log-weight is NaN or +inf; the density of the proposal or the target is broken there.")
        rejected = log_weights == -torch.inf
        if bool(rejected.all(0).any()):
            raise DataError("every row has weight zero: the proposal never meets the target; widen it.")
        if bool((rejected & ~good).any()):
            broken = (rejected & ~good).reshape(*good.shape, *(1,) * len(space.shape))
            values = values.masked_fill(broken, 0.0)
        good = good | rejected
    if not bool(good.all()):
        where = tuple(int(i) for i in (~good).nonzero()[0])
        raise DataError(f"draw {where} is not finite ({int((~good).sum())} such draws); the sampler has diverged.")
    return values
