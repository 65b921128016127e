"""Priors of sparse things: few coefficients, few edges, values within bounds; each knows its proximal step."""

from __future__ import annotations

from math import log
from typing import ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.algebra import Identity
from posteriori.core.errors import DataError, OptionError
from posteriori.core.grid import Gradient, volumes
from posteriori.core.operator import Operator
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.learn.kernels import PositiveNumbers

ORTHONORMAL = 1e-6


class SparseCoefficients(nn.Module):
    """Coefficients c = W (m - mean) in an orthonormal basis, each Laplace distributed: p ∝ exp(-Σ |cᵢ| / bᵢ).

    Args:
        basis: W, linear and orthonormal (``Wavelets``, ``Identity``).
        scale: b, the mean size of a coefficient; learnt.
        relative: factors on ``scale``, basis.codomain.shape: larger for coarse coefficients, which are rarely zero.
        mean: what has no coefficients at all, one number or space.shape.
        spread: standard deviation of log ``scale`` before it is learnt.

    Raises:
        DataError: a basis that is not orthonormal, or factors that are not positive.

    Reference: Park & Casella (2008), The Bayesian lasso, JASA 103, 681; Donoho & Johnstone (1994), Ideal spatial
    adaptation by wavelet shrinkage, Biometrika 81, 425.
    """

    references: ClassVar[tuple[str, ...]] = ("Park & Casella (2008), The Bayesian lasso, JASA 103, 681.",)

    def __init__(
        self,
        basis: Operator,
        scale: float,
        relative: Tensor | None = None,
        mean: Tensor | float = 0.0,
        spread: float = 2.0,
    ) -> None:
        super().__init__()
        basis.require_linear("a basis")
        self.basis, self.space = basis, basis.domain
        probe = Rng(0).normal((2, *self.space.shape))
        with torch.no_grad():
            back = basis.adjoint(basis.matmul(probe))
        if basis.codomain.size != self.space.size or float((back - probe).abs().max()) > ORTHONORMAL:
            raise DataError(f"{basis} is not orthonormal; a sparse prior needs a basis whose transpose is its inverse.")
        factors = torch.ones(basis.codomain.shape) if relative is None else basis.codomain.check(relative)
        if not bool((torch.isfinite(factors) & (factors > 0)).all()):
            raise DataError("the relative scales of coefficients must be finite and positive.")
        self.register_buffer("relative", factors.double())
        self.register_buffer("location", torch.as_tensor(mean, dtype=torch.float64).expand(self.space.shape).clone())
        self.relative: Tensor
        self.location: Tensor
        self.numbers = PositiveNumbers({"scale": (scale, spread)})

    def scales(self) -> Tensor:
        """b, basis.codomain.shape."""
        return self.numbers.values()["scale"] * self.relative

    def coefficients(self, x: Tensor) -> Tensor:
        """W (x - mean)."""
        found: Tensor = self.basis(x - self.location.to(x.dtype))
        return found

    def field(self, coefficients: Tensor) -> Tensor:
        """mean + Wᵀ c."""
        return self.location.to(coefficients.dtype) + self.basis.adjoint(coefficients)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density, float64 (*batch,)."""
        b = self.scales()
        charged = self.basis.codomain.flat(self.coefficients(x).double().abs() / b).sum(-1)
        return -charged - (b.log() + log(2.0)).sum()

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws, (n, *space.shape)."""
        with torch.no_grad():
            u = rng.uniform((n, *self.basis.codomain.shape), self.relative) - 0.5
            return self.field(-self.scales() * u.sign() * torch.log1p(-2 * u.abs()))

    def charge(self, x: Tensor) -> Tensor:
        """Σ |cᵢ| / bᵢ, float64 (*batch,): the part of the energy that :meth:`prox` lowers."""
        return self.basis.codomain.flat(self.coefficients(x).double().abs() / self.scales()).sum(-1)

    def prox(self, x: Tensor, step: Tensor) -> Tensor:
        """argmin_y ½ ‖y - x‖² + step · charge(y): coefficients shrink by step / b, small ones vanish."""
        c = self.coefficients(x)
        return self.field(c.sign() * (c.abs() - step / self.scales()).clamp_min(0.0))

    @staticmethod
    def example() -> SparseCoefficients:
        """Four cells, the first of which may be larger."""
        space = Space("m", {"x": 4})
        return SparseCoefficients(Identity(space), 0.7, torch.tensor([3.0, 1.0, 1.0, 1.0]), mean=1.0)


class TotalVariation(nn.Module):
    """-log density = strength · ∫ |∇m| dV up to a constant: blocks with sharp borders cost no more than slopes.

    A constant costs nothing, so that it is improper; |∇m| is that of the faces towards rising indices, the length over
    all axes (isotropic), and zero at the far ends (Neumann).

    Args:
        space: a grid.
        strength: λ, in the unit of 1 / (value · volume / length).
        iterations: most steps of the dual problem in :meth:`prox`.
        tolerance: relative duality gap at which they end.

    Reference: Rudin, Osher & Fatemi (1992), Physica D 60, 259; Beck & Teboulle (2009), Fast gradient-based algorithms
    for constrained total variation image denoising and deblurring problems, IEEE Trans. Image Process. 18, 2419.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Rudin, Osher & Fatemi (1992), Nonlinear total variation based noise removal algorithms, Physica D 60, 259.",
        "Beck & Teboulle (2009), Fast gradient-based algorithms for constrained total variation image denoising and "
        "deblurring problems, IEEE Trans. Image Process. 18, 2419.",
    )

    def __init__(self, space: Space, strength: float, iterations: int = 500, tolerance: float = 1e-10) -> None:
        super().__init__()
        if not strength > 0 or iterations < 1 or not tolerance > 0:
            raise OptionError(f"strength={strength}, iterations={iterations}, tolerance={tolerance} must be positive.")
        self.space, self.strength, self.iterations, self.tolerance = space, strength, iterations, tolerance
        self.gradient = Gradient(space)
        self.register_buffer("volume", volumes(space))
        self.volume: Tensor
        steepest = self.gradient.inverse_gaps.flatten(1).amax(1)
        self.bound = 4 * float(steepest.square().sum())

    def energy(self, x: Tensor) -> Tensor:
        """strength · ∫ |∇x| dV, float64 (*batch,); its derivative where a slope is zero is zero."""
        g = self.gradient(x).double()
        steep = g.square().sum(-len(self.space.shape) - 1)
        length = torch.where(steep > 0, steep, 1.0).sqrt() * (steep > 0)
        return self.strength * self.space.flat(length * self.volume).sum(-1)

    def charge(self, x: Tensor) -> Tensor:
        """The energy, all of which :meth:`prox` lowers."""
        return self.energy(x)

    def prox(self, x: Tensor, step: Tensor) -> Tensor:
        """argmin_y ½ ‖y - x‖² + step · energy(y), by accelerated steps on the dual: fields p with |p| ≤ step λ V."""
        dims = len(self.space.shape)
        largest = (step * self.strength * self.volume).unsqueeze(-dims - 1)
        p = torch.zeros(*x.shape[: x.ndim - dims], dims, *self.space.shape, dtype=x.dtype, device=x.device)
        q, t = p, 1.0
        for k in range(self.iterations):
            moved = q + self.gradient(x - self.gradient.adjoint(q)) / self.bound
            length = moved.square().sum(-dims - 1, keepdim=True).sqrt()
            kept = torch.where(length > largest, largest / length.clamp_min(1e-300), 1.0)
            before, p = p, moved * kept
            t, last = 0.5 + 0.5 * (1 + 4 * t * t) ** 0.5, t
            q = p + (last - 1) / t * (p - before)
            if k % 10 == 9 and bool((self._gap(x, p, step) <= self.tolerance).all()):
                break
        return x - self.gradient.adjoint(p)

    def _gap(self, x: Tensor, p: Tensor, step: Tensor) -> Tensor:
        """Primal less dual value, as a share of the primal."""
        y = x - self.gradient.adjoint(p)
        small = step.reshape(step.shape[: step.ndim - len(self.space.shape)]) if step.ndim else step
        tension = small * self.energy(y)
        fit = 0.5 * self.space.flat(x - y).square().sum(-1)
        dual = 0.5 * (self.space.flat(x).square().sum(-1) - self.space.flat(y).square().sum(-1))
        return (fit + tension - dual) / (fit + tension).clamp_min(1e-300)

    @staticmethod
    def example() -> TotalVariation:
        """Unequal cells of a section."""
        return TotalVariation(Gradient.example().domain, 0.02)


class Bounds(nn.Module):
    """Every value between ``low`` and ``high``, no other preference; one number each, or space.shape."""

    def __init__(self, space: Space, low: Tensor | float, high: Tensor | float) -> None:
        super().__init__()
        self.space = space
        for name, end in (("low", low), ("high", high)):
            self.register_buffer(name, torch.as_tensor(end, dtype=torch.float64).expand(space.shape).clone())
        self.low: Tensor
        self.high: Tensor
        if not bool((self.low < self.high).all()):
            raise DataError("the lower bound must lie below the upper one in every cell.")

    def charge(self, x: Tensor) -> Tensor:
        """Zero inside, infinite outside, float64 (*batch,)."""
        outside = (x < self.low.to(x.dtype)) | (x > self.high.to(x.dtype))
        return torch.where(self.space.flat(outside).any(-1), torch.inf, 0.0).double()

    def prox(self, x: Tensor, step: Tensor) -> Tensor:
        """The nearest point inside."""
        return x.clamp(self.low.to(x.dtype), self.high.to(x.dtype))
