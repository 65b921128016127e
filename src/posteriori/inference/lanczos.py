"""Log-determinants of large matrices known by their products, with a standard error."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BREAKDOWN = 1e-12


def log_determinant(matmul: Callable[[Tensor], Tensor], probes: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """log |A| of a positive-definite (m, m) matrix by stochastic Lanczos quadrature, and its standard error.

    Args:
        matmul: products of A with (k, m).
        probes: independent rows of random signs, (k, m).
        steps: Lanczos steps; the quadrature is exact at m of them. The error does not count the quadrature's own.

    Reference: Ubaru, Chen & Saad (2017), Fast estimation of tr(f(A)), SIAM J. Matrix Anal. Appl. 38, 1075.
    """
    k, m = probes.shape
    diagonals, offs = _tridiagonal(matmul, probes / m**0.5, min(steps, m))
    t = torch.diag_embed(diagonals) + torch.diag_embed(offs, 1) + torch.diag_embed(offs, -1)
    ritz, vectors = torch.linalg.eigh(t)
    terms = m * (vectors[:, 0].square() * ritz.clamp_min(torch.finfo(ritz.dtype).tiny).log()).sum(-1)
    error = terms.std() / k**0.5 if k > 1 else torch.full_like(terms[0], torch.nan)
    return terms.mean(), error


def _tridiagonal(matmul: Callable[[Tensor], Tensor], start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Diagonals (k, steps) and off-diagonals (k, steps - 1) of A in the Krylov basis of each row, reorthogonalised."""
    basis = [start]
    diagonals, offs = [], []
    for step in range(steps):
        v = basis[-1]
        w = matmul(v)
        diagonals.append((v * w).sum(-1))
        if step == steps - 1:
            break
        earlier = torch.stack(basis, 1)
        for _ in range(2):
            w = w - ((earlier @ w[..., None]).mT @ earlier)[:, 0]
        size = w.norm(dim=-1)
        alive = size > BREAKDOWN * diagonals[0].abs()
        offs.append(torch.where(alive, size, 0.0))
        basis.append(torch.where(alive[:, None], w / size.clamp_min(1e-300)[:, None], 0.0))
    dead = torch.stack(diagonals, -1)
    # a Krylov space that is exhausted decouples: its rest must not meet log(0)
    dead = torch.where(dead == 0.0, 1.0, dead)
    empty = torch.zeros(len(start), 0, dtype=start.dtype, device=start.device)
    return dead, torch.stack(offs, -1) if offs else empty
