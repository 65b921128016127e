"""The directions in which the data know more than the prior, from products of the operator and the prior covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.covariance import Covariance
from posteriori.core.random import Rng
from posteriori.inference.gauss_newton import Linearised

BLOCK = 8
"""Directions found at once; eigenvalues that stand up to this many times are all found."""
LOST = 1e-10
"""A direction whose share of length is less lies in the span of the others but for rounding."""


@dataclass(frozen=True)
class Informed:
    """Eigenvectors of the misfit's curvature H against the prior's K⁻¹: H v = λ K⁻¹ v, vᵢᵀ K⁻¹ vⱼ = δᵢⱼ.

    Attributes:
        values: λ, the information of the data over that of the prior, falling, (*problem, k).
        primal: v, (k, *problem, n).
        dual: w = K⁻¹ v, (k, *problem, n).
    """

    values: Tensor
    primal: Tensor
    dual: Tensor

    def coefficients(self, deviation: Tensor) -> Tensor:
        """c = wᵀ (m - μ) of (*more, *problem, n), standard normal under the prior, (*more, *problem, k)."""
        return torch.einsum("k...n,...n->...k", self.dual, deviation)

    def combine(self, c: Tensor) -> Tensor:
        """Σ c v of (*more, *problem, k), (*more, *problem, n)."""
        return torch.einsum("...k,k...n->...n", c, self.primal)


def informed_directions(points: Sequence[Linearised], k: Covariance, rank: int, rng: Rng) -> Informed:
    """The ``rank`` leading directions of the curvature averaged over ``points``, by block Krylov iterations.

    Costs about ``rank`` products of each point; the basis is kept whole and orthogonal in the norm of K.

    Reference: Bui-Thanh, Ghattas, Martin & Stadler (2013), SIAM J. Sci. Comput. 35, A2494; Cui, Martin, Marzouk,
    Solonen & Spantini (2014), Likelihood-informed dimension reduction for nonlinear inverse problems, Inverse Problems
    30, 114015; Golub & Underwood (1977), The block Lanczos method.
    """
    first = points[0]
    m, n = first.operator.codomain.size, first.operator.domain.size
    lead = first.x.shape[: first.x.ndim - len(first.operator.domain.shape)]
    most = min(rank + BLOCK, m * len(points), n)
    like = first.x
    memory.require(3 * most * lead.numel() * n * like.element_size(), f"{most} directions of {n} cells", "lower rank")
    basis = torch.zeros(0, *lead, n, dtype=like.dtype, device=like.device)
    pushed = torch.zeros_like(basis)
    matrix = torch.zeros(*lead, 0, 0, dtype=torch.float64, device=like.device)
    block = _seen(points, rng.normal((min(BLOCK, most), *lead, m), like))
    while len(basis) < most:
        q = _orthonormal(k, block[: most - len(basis)], basis, pushed)
        lost = ~q.any(-1, keepdim=True)
        if bool(lost.any()):
            # these iterations have found all that they can: others start elsewhere
            fresh = _seen(points, rng.normal((len(q), *lead, m), like))
            q = _orthonormal(k, torch.where(lost, fresh, q), basis, pushed)
        kq = k.matmul(q)
        block = sum((p.curve(kq) for p in points[1:]), first.curve(kq)) / len(points)
        basis, pushed = torch.cat([basis, q]), torch.cat([pushed, kq])
        corner = torch.einsum("i...n,j...n->...ij", pushed.double(), block.double())
        matrix = _bordered(matrix, corner)
    values, vectors = torch.linalg.eigh(matrix)
    top = torch.arange(len(basis) - 1, -1, -1)[: min(rank, len(basis))]
    turn = vectors[..., top].to(like.dtype)
    return Informed(
        values[..., top].clamp_min(0.0),
        torch.einsum("k...n,...kj->j...n", pushed, turn),
        torch.einsum("k...n,...kj->j...n", basis, turn),
    )


def _seen(points: Sequence[Linearised], noise: Tensor) -> Tensor:
    """Random directions that the data can see."""
    pulled = [p.pull(p.weigh(noise)) for p in points]
    return sum(pulled[1:], pulled[0])


def _orthonormal(k: Covariance, block: Tensor, basis: Tensor, pushed: Tensor) -> Tensor:
    """``block`` (b, *problem, n) made orthonormal in the norm of K, also to ``basis``; zero where it is lost."""
    length = (block.double() * k.matmul(block).double()).sum(-1).clamp_min(0.0).sqrt()
    largest = length.amax(0).clamp_min(1e-300)
    found: list[Tensor] = []
    found_pushed: list[Tensor] = []
    for j in range(len(block)):
        v, size = block[j], length[j]
        others = torch.cat([basis, *(t[None] for t in found)]) if found else basis
        others_pushed = torch.cat([pushed, *(t[None] for t in found_pushed)]) if found else pushed
        for _ in range(2):
            v = v - torch.einsum("k...,k...n->...n", (others_pushed * v).sum(-1), others)
        kv = k.matmul(v)
        left = (v.double() * kv.double()).sum(-1).clamp_min(0.0).sqrt()
        alive = left > LOST * torch.maximum(size, 1e-6 * largest)
        scale = torch.where(alive, 1 / left.clamp_min(1e-300), 0.0)[..., None].to(v.dtype)
        found.append(v * scale)
        found_pushed.append(kv * scale)
    return torch.stack(found)


def _bordered(matrix: Tensor, columns: Tensor) -> Tensor:
    """The symmetric matrix (*problem, k, k) with new last columns (*problem, k + b, b)."""
    old, new = matrix.shape[-1], columns.shape[-1]
    whole = torch.zeros(*matrix.shape[:-2], old + new, old + new, dtype=matrix.dtype, device=matrix.device)
    whole[..., :old, :old] = matrix
    whole[..., :, old:] = columns
    whole[..., old:, :] = columns.mT
    corner = columns[..., old:, :]
    whole[..., old:, old:] = 0.5 * (corner + corner.mT)
    return whole
