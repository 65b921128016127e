"""A Gaussian law beside the denoiser: what is left to know of a field at each noise level, and what data add."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.covariance import cholesky
from posteriori.core.errors import UnanswerableError
from posteriori.core.prior import GaussianLaw, Samples
from posteriori.core.random import Rng
from posteriori.inference.plug_in.question import LinearQuestion, Question
from posteriori.learn.ensemble_covariance import localised

HISTORY = 512
"""Draws of a prior from which its Gaussian reference is made."""


@dataclass(frozen=True, eq=False)
class Reference:
    """N(mean, U diag(λ) Uᵀ) over flat cells: given x = x₀ + σ·noise, x₀ varies by V_σ = U diag(λσ²/(λ + σ²)) Uᵀ.

    Attributes:
        mean: (n,).
        variances: λ (n,).
        vectors: U (n, n).
    """

    mean: Tensor
    variances: Tensor
    vectors: Tensor

    def left(self, sigma: Tensor) -> Tensor:
        """The diagonal of V_σ in the basis U, (n,)."""
        square = sigma.square()
        return self.variances * square / (self.variances + square).clamp_min(1e-300)

    def into(self, x: Tensor) -> Tensor:
        """Uᵀ x of rows."""
        return x @ self.vectors

    def back(self, a: Tensor) -> Tensor:
        """U a of rows."""
        return a @ self.vectors.mT


def reference_of(asked: Question, given: GaussianLaw | None, rng: Rng) -> Reference:
    """``given``, else the prior where it is Gaussian, else the localised covariance of its draws.

    Raises:
        UnanswerableError: the reference is of another Space.
        MemoryBudgetError: its covariance does not fit.
    """
    prior, space = asked.prior, asked.target.space
    law = given if given is not None else prior if isinstance(prior, GaussianLaw) else None
    if law is None:
        assert isinstance(prior, Samples)
        with torch.no_grad():
            law = localised(space, prior.sample(HISTORY, rng.child("history")).double())
    if not law.space.same(space):
        raise UnanswerableError(f"the reference speaks of {law.space}, the target of {space}.")
    memory.require(4 * 8 * space.size**2, f"a reference covariance of {space.size} cells", "sample tile by tile")
    with torch.no_grad():
        variances, vectors = torch.linalg.eigh(law.covariance.dense().double())
    return Reference(space.flat(law.location).double(), variances.clamp_min(0.0), vectors)


@dataclass(frozen=True, eq=False)
class Seen:
    """The data near some fields as linear in them: prediction (*batch, m), and J U, (m, n) or (*batch, m, n)."""

    prediction: Tensor
    rows: Tensor

    def to(self, a: Tensor) -> Tensor:
        """J U a for departures ``a`` (*batch, n) in the basis U."""
        return (self.rows @ a[..., None])[..., 0] if self.rows.ndim > 2 else a @ self.rows.mT

    def adjoint(self, r: Tensor) -> Tensor:
        """(J U)ᵀ r of (*batch, m)."""
        return (r[..., None, :] @ self.rows)[..., 0, :] if self.rows.ndim > 2 else r @ self.rows

    def factor(self, variance: Tensor, left: Tensor) -> Tensor:
        """Cholesky factor of R + J V Jᵀ, (m, m) or (*batch, m, m)."""
        return cholesky(torch.diag(variance) + (self.rows * left) @ self.rows.mT)

    def picked(self, index: Sequence[Tensor]) -> Seen:
        """That of other members of the batch."""
        rows = self.rows if self.rows.ndim == 2 else self.rows[tuple(index)]
        return Seen(self.prediction[tuple(index)], rows)


def seen_near(asked: Question, reference: Reference, x0: Tensor) -> Seen:
    """The prediction at fields x₀ (*batch, n), and its derivative there."""
    if isinstance(asked, LinearQuestion):
        return Seen(asked.predict(x0), asked.rows @ reference.vectors)
    operator = asked.target.operator
    flat = x0.reshape(-1, x0.shape[-1])
    m = operator.codomain.size
    memory.require(
        2 * 8 * len(flat) * m * flat.shape[1], f"{len(flat)} derivatives of {m} data", "take fewer particles"
    )
    eye = torch.eye(m, dtype=x0.dtype, device=x0.device)
    at = operator.domain.unflat(flat)
    columns = [
        operator.domain.flat(operator.vjp(at, operator.codomain.unflat(unit.expand(len(flat), m)))) for unit in eye
    ]
    rows = torch.stack(columns, 1) @ reference.vectors
    return Seen(asked.predict(x0), rows.reshape(*x0.shape[:-1], m, -1))


def solved(factor: Tensor, r: Tensor) -> Tensor:
    """S⁻¹ r of (*batch, m) from the factor of S."""
    if factor.ndim > 2:
        return torch.cholesky_solve(r[..., None], factor)[..., 0]
    return torch.cholesky_solve(r.reshape(-1, r.shape[-1]).mT, factor).mT.reshape(r.shape)


def log_normal(factor: Tensor, r: Tensor) -> Tensor:
    """log N(r; 0, S), (*batch,), from the factor of S."""
    quadratic = (r * solved(factor, r)).sum(-1)
    log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return -0.5 * quadratic - log_det - 0.5 * r.shape[-1] * log(2 * pi)


def drawn_given_data(
    reference: Reference, seen: Seen, factor: Tensor, left: Tensor, asked: Question, rng: Rng
) -> Tensor:
    """Departures from x₀, (*batch, n) in the basis U, of N(0, V) given the data: a draw corrected by what it misses."""
    z = left.sqrt() * rng.child("field").normal((*seen.prediction.shape[:-1], len(left)), left)
    error = asked.variance.sqrt() * rng.child("error").normal(seen.prediction.shape, left)
    missed = asked.data - seen.prediction - seen.to(z) - error
    return z + left * seen.adjoint(solved(factor, missed))
