"""Exact answers to linear-Gaussian questions that are too large for a dense factor, by conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi
from typing import ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.covariance import Covariance, frozen
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.operator import Operator
from posteriori.core.prior import GaussianLaw
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.exact import linear_gaussian
from posteriori.inference.lanczos import log_determinant
from posteriori.inference.problems import regression

CELLS_AT_ONCE = 256
LANCZOS_STEPS = 100


@dataclass(frozen=True)
class ConjugateGradients:
    """The posterior of :class:`~posteriori.inference.exact.Exact`, from products with K, J and Jᵀ alone.

    Solves (J K Jᵀ + R) α = d - J μ - b, for all problems at once; the covariance K - K Jᵀ S⁻¹ J K is never formed: its
    products are solves, its draws are prior draws moved by the data they would have given (Matheron's rule).

    Args:
        tolerance: largest relative residual of a solve; no smaller than 100 roundings of the prior's dtype.
        iterations: most steps of a solve.
        rank: of the Nyström preconditioner; 0 for scaling by the noise alone.
        probes: random vectors for the log-evidence, whose standard error they give; 0 leaves it out.
        variance_draws: standard deviations come from that many draws, with a relative error of 1 / sqrt(2 draws);
            0 takes one exact solve for each cell.

    Reference: Frangella, Tropp & Udell (2023), Randomized Nyström preconditioning, SIAM J. Matrix Anal. Appl. 44, 718;
    Wilson et al. (2021), Pathwise conditioning of Gaussian processes, JMLR 22.
    """

    tolerance: float = 1e-12
    iterations: int = 1000
    rank: int = 50
    probes: int = 16
    variance_draws: int = 0

    references: ClassVar[tuple[str, ...]] = (
        "Frangella, Tropp & Udell (2023), Randomized Nyström preconditioning, SIAM J. Matrix Anal. Appl. 44, 718.",
        "Wilson et al. (2021), Pathwise conditioning of Gaussian processes, JMLR 22.",
    )

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1 or self.iterations < 1 or min(self.rank, self.probes, self.variance_draws) < 0:
            raise OptionError(f"{self} needs a tolerance in (0, 1), at least one iteration and no negative number.")

    def __call__(self, target: Target, context: Context) -> Gaussian:
        """The Gaussian posterior with a covariance that works by solves.

        Raises:
            UnanswerableError: the question is not linear-Gaussian, or a solve has not converged.
        """
        inverse, prior = linear_gaussian(target, "ConjugateGradients")
        operator, noise = inverse.operator, inverse.noise
        if not isinstance(noise, Normal):
            raise UnanswerableError(f"ConjugateGradients needs Normal noise, not {type(noise).__name__}: use Exact.")
        with torch.no_grad():
            variance = noise.variance(operator.codomain.size)
            system = DataSystem(prior, operator, variance, self, context.rng.child("preconditioner"))
            residual = operator.codomain.flat(inverse.data - operator(prior.location)).to(prior.covariance.like)
            pull = system.solve(residual)
            shift = prior.covariance.matmul(operator.domain.flat(operator.adjoint(operator.codomain.unflat(pull))))
            location = prior.location + operator.domain.unflat(shift)
            covariance = SolvedCovariance(system, self.variance_draws, context.rng.child("variance"))
            posterior = Gaussian(inverse.space, location, covariance, problems=inverse.problems)
            if self.probes:
                log_det, error = system.log_determinant(self.probes, context.rng.child("evidence"))
                m = operator.codomain.size
                evidence = -0.5 * ((residual * pull).sum(-1) + log_det + m * log(2 * pi))
                posterior.log_evidence = evidence.double()
                posterior.log_evidence_error = (0.5 * error).double().expand_as(posterior.log_evidence).clone()
        return posterior

    @staticmethod
    def example() -> tuple[ConjugateGradients, Inverse]:
        """Fewer preconditioned directions than data."""
        return ConjugateGradients(rank=2), regression()


class DataSystem(nn.Module):
    """S = J K Jᵀ + R as R^½ (B + 1) R^½, with B = R^-½ J K Jᵀ R^-½ and its Nyström approximation U Λ Uᵀ at hand."""

    def __init__(
        self, prior: GaussianLaw, operator: Operator, variance: Tensor, settings: ConjugateGradients, rng: Rng
    ) -> None:
        super().__init__()
        self.covariance, self.operator, self.settings = frozen(prior.covariance), frozen(operator), settings
        like = prior.covariance.like
        self.register_buffer("sigma", variance.sqrt().to(like))
        self.sigma: Tensor
        self.size = len(self.sigma)
        basis, values = self._nystrom(min(settings.rank, self.size), rng)
        self.register_buffer("basis", basis)
        self.register_buffer("values", values)
        self.basis: Tensor
        self.values: Tensor

    def across(self, r: Tensor) -> Tensor:
        """K Jᵀ r, (*batch, m) → (*batch, n)."""
        return self.covariance.matmul(
            self.operator.domain.flat(self.operator.adjoint(self.operator.codomain.unflat(r)))
        )

    def seen(self, v: Tensor) -> Tensor:
        """J v, (*batch, n) → (*batch, m)."""
        return self.operator.codomain.flat(self.operator.matmul(self.operator.domain.unflat(v)))

    def solve(self, residual: Tensor) -> Tensor:
        """S⁻¹ residual, (*batch, m).

        Raises:
            UnanswerableError: more iterations are needed than allowed.
        """
        white = (residual / self.sigma).reshape(-1, self.size)
        tolerance = max(self.settings.tolerance, 100 * torch.finfo(white.dtype).eps)
        goal = tolerance * white.norm(dim=-1)
        x, r = torch.zeros_like(white), white
        z = self._preconditioned(r, -1.0)
        p, rz = z, (r * z).sum(-1)
        for _ in range(self.settings.iterations):
            if bool((r.norm(dim=-1) <= goal).all()):
                break
            q = self._product(p)
            step = (rz / (p * q).sum(-1).clamp_min(1e-300))[:, None]
            x, r = x + step * p, r - step * q
            z = self._preconditioned(r, -1.0)
            rz, before = (r * z).sum(-1), rz
            p = z + (rz / before.clamp_min(1e-300))[:, None] * p
        worst = float((r.norm(dim=-1) / white.norm(dim=-1).clamp_min(1e-300)).max())
        if not worst <= tolerance:
            raise UnanswerableError(
                f"conjugate gradients stand at a relative residual of {worst:.1e} after {self.settings.iterations} "
                f"iterations, {tolerance:.1e} was asked: raise rank (now {self.settings.rank}) or iterations, or use "
                "Exact."
            )
        return (x / self.sigma).reshape(residual.shape)

    def log_determinant(self, probes: int, rng: Rng) -> tuple[Tensor, Tensor]:
        """log |S| and its standard error; the preconditioner's share is exact."""
        signs = torch.where(rng.uniform((probes, self.size), self.sigma) < 0.5, -1.0, 1.0).to(self.sigma)

        def flattened(v: Tensor) -> Tensor:
            return self._preconditioned(self._product(self._preconditioned(v, -0.5)), -0.5)

        rest, error = log_determinant(flattened, signs, LANCZOS_STEPS)
        return rest + self.values.log1p().sum() + 2 * self.sigma.log().sum(), error

    def _product(self, v: Tensor) -> Tensor:
        return self.seen(self.across(v / self.sigma)) / self.sigma + v

    def _preconditioned(self, v: Tensor, power: float) -> Tensor:
        """(U Λ Uᵀ + 1)^power v."""
        return v + ((v @ self.basis) * ((self.values + 1) ** power - 1)) @ self.basis.mT

    def _nystrom(self, rank: int, rng: Rng) -> tuple[Tensor, Tensor]:
        """U (m, rank) and Λ (rank,) from one product with ``rank`` random directions."""
        if rank == 0:
            return self.sigma.new_zeros(self.size, 0), self.sigma.new_zeros(0)
        omega = torch.linalg.qr(rng.normal((self.size, rank), self.sigma)).Q
        y = (self._product(omega.mT) - omega.mT).mT
        shift = torch.finfo(y.dtype).eps * y.norm()
        y = y + shift * omega
        inner = omega.mT @ y
        values, vectors = torch.linalg.eigh(0.5 * (inner + inner.mT))
        kept = values > 10 * shift
        half = (y @ vectors[:, kept]) / values[kept].sqrt()
        u, s, _ = torch.linalg.svd(half, full_matrices=False)
        return u, (s.square() - shift).clamp_min(0.0)


class SolvedCovariance(Covariance):
    """K - K Jᵀ S⁻¹ J K by solves with S; blocks cost one solve for each of their columns.

    Args:
        system: what solves with S.
        draws: variances are estimated from that many draws of ``rng``; 0 solves for every cell.
    """

    def __init__(self, system: DataSystem, draws: int, rng: Rng) -> None:
        super().__init__()
        self.system, self.draws, self.rng = system, draws, rng
        self.size = system.covariance.size
        self._variances: Tensor | None = None

    @property
    def like(self) -> Tensor:
        return self.system.sigma

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        return self._columns(columns, rows)

    def diagonal(self) -> Tensor:
        if self._variances is None:
            if self.draws:
                self._variances = self.sample(self.draws, self.rng).square().mean(0)
            else:
                every = torch.arange(self.size, device=self.like.device).split(CELLS_AT_ONCE)
                self._variances = torch.cat([self._columns(cells, cells).diagonal() for cells in every]).clamp_min(0.0)
        return self._variances

    def matmul(self, v: Tensor) -> Tensor:
        moved = self.system.covariance.matmul(v)
        return moved - self.system.across(self.system.solve(self.system.seen(moved)))

    def sample(self, n: int, rng: Rng) -> Tensor:
        rng = rng.fresh()
        drawn = self.system.covariance.sample(n, rng.child("prior"))
        noise = rng.child("noise").normal((n, self.system.size), self.like) * self.system.sigma
        return drawn - self.system.across(self.system.solve(self.system.seen(drawn) + noise))

    def _columns(self, columns: Tensor, rows: Tensor) -> Tensor:
        pieces = []
        for some in columns.split(CELLS_AT_ONCE):
            units = torch.zeros(len(some), self.size, dtype=self.like.dtype, device=self.like.device)
            units[torch.arange(len(some), device=some.device), some] = 1.0
            pieces.append(self.matmul(units)[:, rows].mT)
        return torch.cat(pieces, dim=1)
