"""Gaussian priors of smooth fields on grids, given by how rough each wavelength may be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import log, pi
from typing import ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.covariance import Covariance, ScaledCovariance
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.learn.kernels import PositiveNumbers
from posteriori.learn.modes import Modes

CELLS_AT_ONCE = 256


class Spectrum(nn.Module, ABC):
    """The precision of each mode of a grid: what Tikhonov's penalty charges it for."""

    @abstractmethod
    def forward(self, modes: Modes) -> Tensor:
        """The precisions, of the grid's shape, differentiable in what is learnt."""


class SpectralCovariance(Covariance):
    """Σ = U q⁻¹ Uᵀ with U the modes of a grid and q their precisions; products cost cells × Σ axis lengths."""

    def __init__(self, modes: Modes, spectrum: Spectrum) -> None:
        super().__init__()
        self.modes, self.spectrum = modes, spectrum
        self.size = modes.size

    @property
    def like(self) -> Tensor:
        return self.modes.squared(0)

    def precisions(self) -> Tensor:
        """q, of the grid's shape."""
        found: Tensor = self.spectrum(self.modes)
        return found

    def matmul(self, v: Tensor) -> Tensor:
        grid = v.reshape(*v.shape[:-1], *self.modes.shape)
        return self.modes.values(self.modes.products(grid) / self.precisions().to(v.dtype)).reshape(v.shape)

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        if len(columns) > len(rows):
            return self.block(columns, rows).mT
        pieces = []
        for some in columns.split(CELLS_AT_ONCE):
            units = torch.zeros(len(some), self.size, dtype=self.like.dtype, device=self.like.device)
            units[torch.arange(len(some), device=some.device), some] = 1.0
            pieces.append(self.matmul(units)[:, rows].mT)
        return torch.cat(pieces, dim=1)

    def diagonal(self) -> Tensor:
        return self.modes.variances(1 / self.precisions()).flatten()

    def sample(self, n: int, rng: Rng) -> Tensor:
        return self.coloured(rng.normal((n, *self.modes.shape), self.like)).reshape(n, self.size)

    def coloured(self, white: Tensor) -> Tensor:
        """U q^-½ white, (*batch, *grid): a field for each set of standard normal numbers."""
        return self.modes.values(white * self.precisions().rsqrt().to(white.dtype))

    def uncoloured(self, grid: Tensor) -> Tensor:
        """q^-½ Uᵀ grid, the transpose of :meth:`coloured`: a slope in the field as one in white numbers."""
        return self.modes.products(grid) * self.precisions().rsqrt().to(grid.dtype)

    def whitened(self, grid: Tensor) -> Tensor:
        """The inverse of :meth:`coloured`."""
        volumes = self.modes.volumes().to(grid.dtype)
        return self.modes.products(volumes * grid) * self.precisions().sqrt().to(grid.dtype)

    def log_determinant(self) -> Tensor:
        """log |Σ|."""
        return -self.precisions().log().sum() - self.modes.volumes().log().sum()


class Matern(Spectrum):
    """q ∝ (1 + Σ_a (ℓ_a k_a)²)^order, scaled so that the mean variance over the grid's volume is sigma².

    Away from the ends that is a Matérn field with ν = order - dims/2.

    Reference: Lindgren, Rue & Lindström (2011), An explicit link between Gaussian fields and Gaussian Markov random
    fields, J. R. Statist. Soc. B 73, 423.
    """

    def __init__(self, sigma: float, lengths: Mapping[str, float], order: int, spread: float) -> None:
        super().__init__()
        self.dims, self.order = tuple(lengths), order
        spec = {f"length_{dim}": (length, spread) for dim, length in lengths.items()}
        self.numbers = PositiveNumbers({"sigma": (sigma, spread), **spec})

    def forward(self, modes: Modes) -> Tensor:
        number = self.numbers.values()
        scaled = [number[f"length_{dim}"] ** 2 * modes.squared(axis) for axis, dim in enumerate(self.dims)]
        rough = _sum_along_axes(scaled)
        q = (1 + rough) ** self.order
        return q * (1 / q).sum() / (number["sigma"] ** 2 * modes.volumes().sum())


class Penalties(Spectrum):
    """q = Σ_p strength_p k^2p: ½ ∫ (λ₀ m² + λ₁ |∇m|² + λ₂ (∇²m)²) dV, the penalties of Tikhonov."""

    def __init__(self, strengths: Mapping[int, float], spread: float) -> None:
        super().__init__()
        self.orders = tuple(strengths)
        self.numbers = PositiveNumbers({f"strength_{p}": (strength, spread) for p, strength in strengths.items()})

    def forward(self, modes: Modes) -> Tensor:
        squared = _sum_along_axes([modes.squared(axis) for axis in range(len(modes.shape))])
        number = self.numbers.values()
        parts = torch.stack([number[f"strength_{p}"] * squared**p for p in self.orders])
        return parts.sum(0)


class GridPrior(nn.Module):
    """m = mean + scale · f with f Gaussian, its covariance diagonal in the modes of the grid.

    It is a Gaussian law (``location``, ``covariance``), has a normalised density, can be drawn from, and decodes
    standard normal numbers (``decode``, inverse ``encode``), which is how to precondition an optimiser or to reduce the
    number of unknowns.

    Args:
        space: a grid of any number of dims, labels the centres of its cells.
        spectrum: precision of each mode; its numbers are learnt by the evidence.
        mean: what is expected, space.shape; zero without.
        scale: factor on the standard deviations, one number a cell (depth weighting); one without.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Lindgren, Rue & Lindström (2011), An explicit link between Gaussian fields and Gaussian Markov random fields, "
        "J. R. Statist. Soc. B 73, 423.",
    )

    def __init__(
        self, space: Space, spectrum: Spectrum, mean: Tensor | float = 0.0, scale: Tensor | None = None
    ) -> None:
        super().__init__()
        if not space.dims or space.parts:
            raise ShapeError(f"{space} is no grid; smoothness needs the positions of cells along one or more dims.")
        self.space = space
        expected = torch.as_tensor(mean, dtype=torch.float64).expand(space.shape).clone()
        if not bool(torch.isfinite(expected).all()):
            raise DataError("the mean of a prior must be finite in every cell.")
        self.register_buffer("location", expected)
        self.location: Tensor
        self.field = SpectralCovariance(Modes(space), spectrum)
        stretch = (
            torch.ones(space.shape, dtype=torch.float64)
            if scale is None
            else space.check(scale, "scale").double().clone()
        )
        if not bool((torch.isfinite(stretch) & (stretch > 0)).all()):
            raise DataError("the scale of a prior must be finite and positive in every cell.")
        self.register_buffer("scale", stretch)
        self.scale: Tensor
        self.covariance: Covariance = self.field if scale is None else ScaledCovariance(self.field, stretch.flatten())
        self.latent = Space("white", {f"mode_{dim}": n for dim, n in zip(space.dims, space.shape, strict=True)})

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws, (n, *space.shape)."""
        with torch.no_grad():
            return self.location + self.space.unflat(self.covariance.sample(n, rng))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density, float64 (*batch,)."""
        white = self.space.flat(self.encode(self.space.check(x, "x").double()))
        constant = self.space.size * log(2 * pi) + self.field.log_determinant() + 2 * self.scale.log().sum()
        return -0.5 * (white.square().sum(-1) + constant)

    def decode(self, z: Tensor) -> Tensor:
        """The field of standard normal numbers ``z``, one for each mode; ``z[..., 0, 0]`` is that of the mean."""
        return self.location.to(z.dtype) + self.scale.to(z.dtype) * self.field.coloured(z)

    def encode(self, m: Tensor) -> Tensor:
        """The inverse of :meth:`decode`; ½ ‖encode(m)‖² is the penalty of ``m``."""
        return self.field.whitened((m - self.location.to(m.dtype)) / self.scale.to(m.dtype))


class Smoothness(GridPrior):
    """A smooth field of standard deviation ``sigma`` and correlation ``lengths``: the penalty (1 + ℓ²k²)^order.

    No flux leaves the grid's ends (Neumann), so that the field is freer there: its standard deviation is up to √2
    larger at an end, 2 at a corner; ``sigma`` is the root of the mean variance over the grid.

    Args:
        space: the grid.
        sigma: standard deviation, in the unit of the space.
        length: correlation length, in the unit of the labels (metres); one number, or one for each dim.
        mean: what is expected, one number or space.shape.
        order: 1 allows rough fields (a penalty of |∇m|²), 2 has continuous slopes (of (∇²m)²).
        scale: factor on ``sigma``, one number a cell (depth weighting).
        spread: standard deviation of the logarithms of ``sigma`` and ``length`` before they are learnt.
    """

    def __init__(
        self,
        space: Space,
        sigma: float,
        length: float | Mapping[str, float],
        mean: Tensor | float = 0.0,
        order: int = 2,
        scale: Tensor | None = None,
        spread: float = 2.0,
    ) -> None:
        lengths = dict.fromkeys(space.dims, length) if isinstance(length, (int, float)) else dict(length)
        if set(lengths) != set(space.dims):
            raise ShapeError(f"lengths for {tuple(lengths)} do not fit the dims {space.dims} of {space.name}.")
        if order < 1:
            raise OptionError(f"order={order}; a smooth field needs 1, 2 or more.")
        spectrum = Matern(sigma, {dim: lengths[dim] for dim in space.dims}, order, spread)
        super().__init__(space, spectrum, mean, scale)

    @staticmethod
    def example() -> Smoothness:
        """Unequal cells of a small section, a depth scale and a mean."""
        space = Space("density", {"z": [25.0, 100.0, 250.0], "x": [0.0, 100.0]}, "kg/m^3")
        scale = torch.tensor([1.0, 1.5, 2.5], dtype=torch.float64)[:, None].expand(3, 2)
        return Smoothness(space, 2.0, {"z": 100.0, "x": 150.0}, mean=5.0, scale=scale)


class Roughness(GridPrior):
    """Tikhonov's penalties as a prior: -log density = ½ ∫ (λ₀ m² + λ₁ |∇m|² + λ₂ (∇²m)²) dV.

    λ₀ > 0 makes it proper: without it the mean over the grid would be free.

    Args:
        space: the grid.
        strengths: λ by order, {0: …, 1: …, 2: …}; every one is learnt by the evidence, in the units of
            1 / (values² · volume · length^-2p).
        mean: what is expected; deviations from it are charged for.
        scale: factor on the standard deviations, one number a cell (depth weighting).
        spread: standard deviation of the logarithm of each strength before it is learnt.
    """

    def __init__(
        self,
        space: Space,
        strengths: Mapping[int, float],
        mean: Tensor | float = 0.0,
        scale: Tensor | None = None,
        spread: float = 4.0,
    ) -> None:
        if 0 not in strengths or min(strengths) < 0:
            raise OptionError(
                f"strengths for the orders {tuple(strengths)}: 0 must be among them, or a constant costs nothing."
            )
        super().__init__(space, Penalties(strengths, spread), mean, scale)

    @staticmethod
    def example() -> Roughness:
        """All three penalties on six cells."""
        return Roughness(Space("m", {"x": 6}), {0: 0.5, 1: 2.0, 2: 1.0}, mean=1.0)


def _sum_along_axes(parts: list[Tensor]) -> Tensor:
    """Σ_a parts_a(k_a) on the whole grid."""
    dims = len(parts)
    whole = torch.zeros([len(part) for part in parts], dtype=parts[0].dtype, device=parts[0].device)
    for axis, part in enumerate(parts):
        whole = whole + part.reshape([-1 if a == axis else 1 for a in range(dims)])
    return whole
