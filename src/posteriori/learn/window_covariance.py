"""The covariance of a field together with the layers before and after it, learnt from a history."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import ShapeError
from posteriori.core.gaussian import Gaussian
from posteriori.core.space import Space
from posteriori.learn.scale_covariance import FEWEST_PAIRS, Correlations, Scales

DAMPING = (1.0, 0.9, 0.75, 0.5, 0.25, 0.0)
"""Shares of the correlations between layers that are tried where a history with gaps leaves no valid covariance."""


@dataclass(frozen=True, eq=False)
class Window:
    """What a history tells of a field and the ``reach`` layers to each side of it.

    Between layers τ steps apart K_τ = D [(1 - s) N (P R_τ P ∘ g(d/L₁) + Q R_τ Q ∘ g(d/L₂)) N + s ρ_τ C] D. As in
    :class:`~posteriori.learn.scale_covariance.Scales` s, L₁, L₂ and D are the common share, lengths and standard
    deviations and C the kernel of places; P projects on the leading patterns and Q on the others; R_τ is the
    correlation at lag τ and ρ_τ its mean over cells; N sets the diagonal of K_0 right, which is that of the field
    alone. R_τ is the sum over pairs of fields by the number of all fields, so that the whole is positive semi-definite
    where the history has no gaps. Where it has, pairs in which both cells were seen stand for all, and all K_τ are
    damped by the largest of :data:`DAMPING` that leaves a valid covariance.

    Attributes:
        learnt: the correlations of single layers.
        across: R_τ for τ = 1 … 2 reach, [i, j] of cell i now and cell j τ steps later, (k, k) each.
        whole: whether the history has no gaps.

    Reference: Brockwell & Davis (1991), Time Series: Theory and Methods, section 7.2 (the divisor that keeps a
    covariance function non-negative).
    """

    learnt: Correlations
    across: tuple[Tensor, ...] = ()
    whole: bool = True

    @property
    def reach(self) -> int:
        """Layers to each side."""
        return len(self.across) // 2

    @staticmethod
    def of(learnt: Correlations, history: Tensor, steps: Tensor, reach: int) -> Window:
        """From ``history`` (n, *space.shape), NaN in gaps, at distinct whole numbers of ``steps`` (n,).

        Raises:
            ShapeError: not one number of steps for each field, or one of them twice.
            MemoryBudgetError: more cells than the covariance of all layers can be kept of.
        """
        if steps.shape != history.shape[:1] or len(torch.unique(steps)) < len(steps):
            raise ShapeError(f"steps {tuple(steps.shape)}: each of {len(history)} fields needs one of its own.")
        if not reach:
            return Window(learnt)
        size = (2 * reach + 1) * len(learnt.cells)
        memory.require(4 * 8 * size**2, f"covariances of {size} cells in neighbouring layers", "cut the grid")
        x = learnt.space.flat(history)[:, learnt.cells].double()
        seen = ~torch.isnan(x)
        z, known = torch.where(seen, (x - learnt.mean) / learnt.std, 0.0), seen.double()
        at = {int(step): row for row, step in enumerate(steps)}
        across = []
        for lag in range(1, 2 * reach + 1):
            now = [row for step, row in at.items() if step + lag in at]
            then = [at[step + lag] for step in at if step + lag in at]
            both = known[now].mT @ known[then]
            of_all = (both * len(x) / max(len(now), 1)).clamp_min(1)
            across.append(torch.where(both >= FEWEST_PAIRS, z[now].mT @ z[then] / of_all, 0.0))
        return Window(learnt, tuple(across), bool(seen.all()))

    def prior(self, scales: Scales, reach: int) -> Gaussian:
        """The law over ``reach`` layers before, the field, and as many after, (layer, y, x)."""
        layers, known = 2 * reach + 1, self.learnt.defined
        size, cells = known.size, self.learnt.cells
        space = Space(
            known.name,
            {"layer": range(-reach, reach + 1), **known.coords},
            known.unit,
            mask=None if known.mask is None else known.mask.expand(layers, *known.shape),
        )
        every = torch.cat([cells + layer * size for layer in range(layers)])
        whole = torch.zeros(layers * size, layers * size, dtype=torch.float64)
        whole[every[:, None], every] = self.matrix(scales, reach)
        mean = torch.zeros(layers * size, dtype=torch.float64)
        mean[every] = self.learnt.mean.repeat(layers)
        return Gaussian(space, space.unflat(mean), DenseCovariance(whole))

    def matrix(self, scales: Scales, reach: int) -> Tensor:
        """K between the known cells of 2 ``reach`` + 1 layers, layer by layer, (layer · k, layer · k)."""
        alone = self.learnt.matrix(scales)
        if not reach:
            return alone
        blocks = self._blocks(scales, 2 * reach)
        if self.whole:
            return _assembled(alone, blocks)
        for share in DAMPING:
            matrix = _assembled(alone, [share * block for block in blocks])
            if not bool(torch.linalg.cholesky_ex(matrix)[1].any()):
                break
        return matrix

    def _blocks(self, scales: Scales, most: int) -> list[Tensor]:
        """K_τ for τ = 1 … most."""
        learnt = self.learnt
        lead = learnt.vectors[:, : scales.leading]
        near, wide = learnt.taper(scales.length), learnt.taper(scales.leading_length)
        std = learnt.tapered(scales).diagonal().sqrt()
        found = []
        for r in self.across[:most]:
            across = lead @ (lead.mT @ r)
            first = (across @ lead) @ lead.mT
            rest = r - across - (r @ lead) @ lead.mT + first
            k = (first * wide + rest * near) / (std[:, None] * std)
            k = (1 - scales.common) * k + scales.common * r.diagonal().mean() * learnt.common
            found.append(k * learnt.std[:, None] * learnt.std)
        return found


def _assembled(alone: Tensor, blocks: list[Tensor]) -> Tensor:
    """The block Toeplitz matrix with ``alone`` on the diagonal and K_τ, K_τᵀ beside it."""
    lags = [alone, *blocks]
    rows = range(len(lags))
    return torch.cat([torch.cat([lags[j - i] if j >= i else lags[i - j].mT for j in rows], 1) for i in rows])
