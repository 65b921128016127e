"""Singular values of linear operators, whole or by random projection, and Picard's condition."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.operator import Operator
from posteriori.core.prior import GaussianLaw
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.inference.tikhonov import white_residual, whitened, whitened_transpose
from posteriori.learn.smoothness import GridPrior

PROBES = 10
"""Random vectors behind the error bound; it fails once in 10^PROBES times."""


@dataclass(frozen=True)
class SingularSystem:
    """J ≈ U diag(values) Vᵀ, largest first.

    Attributes:
        values: (k,).
        data: U, orthonormal columns over the flat data, (m, k).
        model: V, orthonormal columns over the flat unknown, (n, k).
        error: bound on ‖J - U diag(values) Vᵀ‖; how far each value is off, and no value left out is larger.
    """

    values: Tensor
    data: Tensor
    model: Tensor
    error: float

    def null(self, body: Tensor) -> Tensor:
        """The part of flat unknowns (*batch, n) that these directions do not see."""
        return body - (body @ self.model) @ self.model.mT


@dataclass(frozen=True)
class Picard:
    """Picard's condition: what the data say along each singular direction against what noise would.

    Attributes:
        values: of the operator from white unknowns to white data, (k,).
        seen: |uᵀd| of the whitened data, (problems, k); one is the noise.
        solution: seen / values: what undamped inversion would make of it.
    """

    values: Tensor
    seen: Tensor
    solution: Tensor

    @property
    def visible(self) -> int:
        """Number of directions along which the prior moves the data by more than their noise."""
        return int((self.values > 1).sum())


def singular_system(operator: Operator) -> SingularSystem:
    """All singular values and vectors of a linear operator, float64, by a dense decomposition.

    Raises:
        MemoryBudgetError: it does not fit; use ``randomised_system``.
    """
    m, n = operator.codomain.size, operator.domain.size
    memory.require(4 * 8 * m * n, f"singular vectors of {m} data against {n} cells", "use randomised_system")
    with torch.no_grad():
        u, values, vt = torch.linalg.svd(operator.rows(torch.zeros((), dtype=torch.float64)), full_matrices=False)
    return SingularSystem(values, u, vt.mT, float(values[0]) * torch.finfo(values.dtype).eps * max(m, n))


def randomised_system(operator: Operator, count: int, rng: Rng, extra: int = 10, powers: int = 2) -> SingularSystem:
    """The ``count`` largest singular values and their vectors from products with J and Jᵀ alone.

    Random directions, ``powers`` rounds of J Jᵀ with orthonormalisation, and a small dense decomposition. With Q the
    range found and B = (1 - QQᵀ) J, the bound on ‖B‖ is (10 √(2/π) max_i ‖(B Bᵀ)² B ω_i‖)^⅕ over ten fresh Gaussian ω,
    wrong with probability 10⁻¹⁰; the root makes it tight. The first value cut off adds to it.

    Reference: Halko, Martinsson & Tropp (2011), Finding structure with randomness, SIAM Review 53, 217: algorithms 4.4
    and 5.1, equation 4.3.
    """
    domain, codomain = operator.domain, operator.codomain
    wide = min(count + extra, domain.size, codomain.size)
    if not 0 < count <= wide or extra < 0 or powers < 0:
        raise OptionError(f"count={count}, extra={extra}, powers={powers}: ask for 1 to {wide} singular values.")

    def forward(v: Tensor) -> Tensor:
        return codomain.flat(operator.matmul(domain.unflat(v.mT))).mT

    def back(r: Tensor) -> Tensor:
        return domain.flat(operator.adjoint(codomain.unflat(r.mT))).mT

    def beyond(r: Tensor) -> Tensor:
        return r - q @ (q.mT @ r)

    with torch.no_grad():
        q = torch.linalg.qr(forward(rng.child("range").normal((domain.size, wide)))).Q
        for _ in range(powers):
            q = torch.linalg.qr(forward(torch.linalg.qr(back(q)).Q)).Q
        v, values, ut = torch.linalg.svd(back(q), full_matrices=False)
        probes = beyond(forward(rng.child("error").normal((domain.size, PROBES))))
        scale = float(probes.norm(dim=0).max())
        for _ in range(2 if scale > 0 else 0):
            probes = beyond(forward(back(probes / scale))) / scale
        rest = scale * (10 * sqrt(2 / pi) * float(probes.norm(dim=0).max()) / scale) ** 0.2 if scale > 0 else 0.0
        error = rest + (float(values[count]) if count < len(values) else 0.0)
        return SingularSystem(values[:count], q @ ut.mT[:, :count], v[:, :count], error)


def picard(target: Inverse, system: SingularSystem) -> Picard:
    """Picard's condition of the data of ``target``; ``system`` is that of ``Whitened(target)``."""
    seen = target.seen()
    with torch.no_grad():
        mean = seen.prior.location if isinstance(seen.prior, GaussianLaw) else torch.zeros(seen.space.shape)
        coefficients = (white_residual(seen, mean) @ system.data).abs()
    return Picard(system.values, coefficients, coefficients / system.values.clamp_min(1e-300))


class Whitened(Operator):
    """R^-½ J Σ^½: from standard normal numbers to data in units of their noise.

    Its singular values are what a typical unknown adds to the data along each direction, in standard deviations of
    noise: above one is seen.

    Raises:
        UnanswerableError: not a linear question with a Gaussian prior.
    """

    linear = True

    def __init__(self, target: Inverse) -> None:
        super().__init__()
        seen = target.seen()
        seen.operator.require_linear("a singular value")
        if not isinstance(seen.prior, GaussianLaw):
            raise UnanswerableError(
                f"only a Gaussian prior says how large each direction is, not {type(seen.prior).__name__}; take "
                "Smoothness, or the singular values of the operator itself."
            )
        self.target = seen
        grid = isinstance(seen.prior, GridPrior)
        self.register_buffer("root", None if grid else DenseCovariance(seen.prior.covariance.dense()).root)
        self.root: Tensor | None
        self.domain = (
            seen.prior.latent if isinstance(seen.prior, GridPrior) else Space("white", {"cell": seen.space.size})
        )
        self.codomain = Space("white data", {"datum": seen.operator.codomain.size})

    def forward(self, m: Tensor) -> Tensor:
        """R^-½ J Σ^½ m."""
        operator = self.target.operator
        return whitened(self.target.noise, operator.codomain.flat(operator.matmul(self.unknown(m))))

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """The same of ``v``."""
        return self.forward(v)

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        """Σ^½ᵀ Jᵀ R^-½ᵀ r."""
        operator = self.target.operator
        rows = r.reshape(-1, r.shape[-1])
        pulled = whitened_transpose(self.target.noise, rows.mT).mT.reshape(r.shape)
        back = operator.adjoint(operator.codomain.unflat(pulled))
        prior = self.target.prior
        if isinstance(prior, GridPrior):
            return prior.field.uncoloured(prior.scale.to(back.dtype) * back)
        assert self.root is not None
        return self.target.space.flat(back) @ self.root.to(back.dtype)

    def unknown(self, z: Tensor) -> Tensor:
        """Σ^½ z: the body, less what is expected, of white numbers (*batch, *domain.shape)."""
        prior = self.target.prior
        if isinstance(prior, GridPrior):
            return prior.scale.to(z.dtype) * prior.field.coloured(z)
        assert self.root is not None
        return self.target.space.unflat(z @ self.root.mT.to(z.dtype))
