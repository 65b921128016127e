"""A density cell by cell: each, given those before it, is a shifted and scaled mixture of its own."""

from __future__ import annotations

from math import log, pi
from typing import ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.learn.location_scale import MOST, binned_mixtures, location_scale

LAST_BITS = 2.0**-53
FAINT = 1e-12
"""Share of the largest weight below which a row tells nothing."""


class ConditionalDensity(nn.Module):
    """q(x) = Π q(xᵢ | x before): xᵢ = aᵢ + exp(sᵢ) rᵢ; a and s are affine in the cells before, r a Gaussian mixture.

    Cells are standardised, and taken in rising order of their tails: what sets the scale of others has lighter tails
    than they. A density takes one pass, a draw as many as there are cells. :meth:`fitted` learns it.

    Args:
        space: the cells, flattened inside.
        order: in which the cells are taken, (n,).
        location, scale: by which they are standardised, (n,).
        parts: Gaussians of each mixture.

    Raises:
        OptionError: fewer than one part.

    Reference: Papamakarios, Pavlakou & Murray (2017), Masked autoregressive flow for density estimation, NeurIPS.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Papamakarios, Pavlakou & Murray (2017), Masked autoregressive flow for density estimation, NeurIPS.",
    )

    def __init__(self, space: Space, order: Tensor, location: Tensor, scale: Tensor, parts: int = 8) -> None:
        super().__init__()
        if parts < 1:
            raise OptionError(f"parts={parts}: one or more.")
        n = space.size
        self.space = space
        self.register_buffer("order", order)
        self.register_buffer("location", location.double())
        self.register_buffer("scale", scale.double())
        self.order: Tensor
        self.location: Tensor
        self.scale: Tensor
        spread = 1.5 if parts > 1 else 0.0
        where = torch.linspace(-spread, spread, parts, dtype=torch.float64).expand(n, parts)
        width = log(0.5 if parts > 1 else 1.0)
        self.register_buffer("constants", torch.zeros(2, n, dtype=torch.float64))
        self.register_buffer("linear", torch.zeros(2, n, n, dtype=torch.float64))
        self.register_buffer("centres", where.clone())
        self.register_buffer("log_widths", torch.full((n, parts), width, dtype=torch.float64))
        self.register_buffer("logits", torch.zeros(n, parts, dtype=torch.float64))
        self.constants: Tensor
        self.linear: Tensor
        self.centres: Tensor
        self.log_widths: Tensor
        self.logits: Tensor

    @property
    def numbers(self) -> int:
        """Uniform numbers that one draw uses."""
        return self.space.size

    def points(self, u: Tensor) -> Tensor:
        """Rows (n, *space.shape) of uniform numbers (n, numbers), one for each cell."""
        return self.placed(self.residuals(u))

    def residuals(self, u: Tensor) -> Tensor:
        """r (n, cells) of uniform numbers (n, cells), in the order of the cells: the part, and the place in it."""
        u = u.clamp(LAST_BITS, 1 - LAST_BITS)
        weights = torch.softmax(self.logits, -1)
        edges = weights.cumsum(-1)
        part = torch.searchsorted(edges, u.mT.contiguous(), right=True).clamp_max(weights.shape[1] - 1)
        share = weights.gather(1, part)
        within = ((u.mT - edges.gather(1, part) + share) / share).clamp(LAST_BITS, 1 - LAST_BITS)
        r = self.centres.gather(1, part) + self.log_widths.gather(1, part).exp() * torch.special.ndtri(within)
        return r.mT.contiguous()

    def placed(self, r: Tensor) -> Tensor:
        """Rows (n, *space.shape) of residuals (n, cells)."""
        with torch.no_grad():
            z = torch.zeros_like(r)
            for i in range(self.space.size):
                shift = self.constants[0, i] + z @ self.linear[0, i]
                log_scale = (self.constants[1, i] + z @ self.linear[1, i]).clamp(-MOST, MOST)
                z[:, i] = shift + log_scale.exp() * r[:, i]
            flat = torch.empty_like(z)
            flat[:, self.order] = self.location[self.order] + self.scale[self.order] * z
        return self.space.unflat(flat)

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent draws, (n, *space.shape)."""
        return self.points(rng.fresh().uniform((n, self.numbers)))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density, float64 (*batch,)."""
        return self.log_cells(x)[0].sum(-1)

    def log_cells(self, x: Tensor, wide: float = 1.0) -> tuple[Tensor, Tensor]:
        """log q(xᵢ | x before), and that of Gaussians ``wide`` times as wide as the residuals, (*batch, cells)."""
        r, log_scale = self._residuals_of(((self.space.flat(x).double() - self.location) / self.scale)[..., self.order])
        jacobian = -log_scale - self.scale[self.order].log()
        middle, spread = self.moments()
        away = (r - middle) / (wide * spread)
        blunt = -0.5 * (away.square() + log(2 * pi)) - (wide * spread).log()
        return self._log_mixture(r) + jacobian, blunt + jacobian

    def moments(self) -> tuple[Tensor, Tensor]:
        """Means and standard deviations of the residuals, (cells,) each."""
        weights = torch.softmax(self.logits, -1)
        middle = (weights * self.centres).sum(-1)
        second = (weights * (self.centres.square() + (2 * self.log_widths).exp())).sum(-1)
        return middle, (second - middle.square()).sqrt()

    def wider(self, factor: float) -> OneCellWide:
        """The law in which one cell, any, is a Gaussian ``factor`` times as wide as this one says."""
        return OneCellWide(self, factor)

    def fitted(self, x: Tensor, weights: Tensor, rng: Rng) -> ConditionalDensity:
        """Of high likelihood for rows (n, *space.shape) with weights (n,): first a and s, then the residuals' mixtures.

        Nothing in it is random. a and s are those of highest likelihood for Gaussian residuals, found anew, without
        coefficients that the rows do not bear out; the mixtures begin at the present ones.
        """
        told = weights > FAINT * weights.max()
        share = weights[told].double()
        z = ((self.space.flat(x)[told].double() - self.location) / self.scale)[:, self.order]
        law = ConditionalDensity(self.space, self.order, self.location, self.scale, self.logits.shape[1])
        for i in range(self.space.size):
            shift, log_scale = location_scale(z[:, i], z[:, :i], share)
            law.constants[:, i] = torch.stack([shift[0], log_scale[0]])
            law.linear[:, i, :i] = torch.stack([shift[1:], log_scale[1:]])
        r, _ = law._residuals_of(z)
        law.logits, law.centres, law.log_widths = binned_mixtures(r, share, self.logits, self.centres, self.log_widths)
        return law

    @staticmethod
    def seeded(space: Space, x: Tensor, weights: Tensor, parts: int) -> ConditionalDensity:
        """Independent cells with the mean and spread of rows (n, *space.shape) of weights (n,), in order of tails."""
        rows, share = space.flat(x).double(), weights.double() / weights.sum()
        location = share @ rows
        scale = (share @ (rows - location).square()).sqrt().clamp_min(1e-300)
        tails = share @ ((rows - location) / scale) ** 4
        return ConditionalDensity(space, tails.argsort(), location, scale, parts)

    @staticmethod
    def example() -> ConditionalDensity:
        """Three cells, the first of which sets the scale of the second."""
        space, one = Space("position", {"axis": 3}), torch.ones(3, dtype=torch.float64)
        law = ConditionalDensity(space, torch.arange(3), 0.5 * one, one, 2)
        law.linear[1, 1, 0] = 0.4
        law.linear[0, 2, 1] = 0.3
        return law

    def _residuals_of(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals of standardised cells in order, and log-scales, (*batch, cells)."""
        log_scale = (self.constants[1] + z @ self.linear[1].mT).clamp(-MOST, MOST)
        return (z - self.constants[0] - z @ self.linear[0].mT) * (-log_scale).exp(), log_scale

    def _log_mixture(self, r: Tensor) -> Tensor:
        away = (r[..., None] - self.centres) * (-self.log_widths).exp()
        parts = torch.log_softmax(self.logits, -1) - self.log_widths - 0.5 * (away.square() + log(2 * pi))
        return torch.logsumexp(parts, -1)


class OneCellWide(nn.Module):
    """A conditional density of which one cell, chosen anew for each row, is a wide Gaussian given those before it.

    It also reaches between the modes of that cell.

    Args:
        law: the density.
        factor: width of that Gaussian over the standard deviation of the cell's residual.
    """

    def __init__(self, law: ConditionalDensity, factor: float) -> None:
        super().__init__()
        self.law, self.factor, self.space = law, factor, law.space

    @property
    def numbers(self) -> int:
        """Uniform numbers that one draw uses."""
        return self.space.size + 1

    def points(self, u: Tensor) -> Tensor:
        """Rows (n, *space.shape) of uniform numbers (n, numbers); the first picks the cell."""
        (middle, spread), v = self.law.moments(), u[:, 1:]
        chosen = (u[:, :1] * self.space.size).long().clamp_max(self.space.size - 1)
        blunt = middle + self.factor * spread * torch.special.ndtri(v.clamp(LAST_BITS, 1 - LAST_BITS))
        cells = torch.zeros_like(v, dtype=torch.bool).scatter(1, chosen, True)
        return self.law.placed(torch.where(cells, blunt, self.law.residuals(v)))

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent draws, (n, *space.shape)."""
        return self.points(rng.fresh().uniform((n, self.numbers)))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density, float64 (*batch,)."""
        own, wide = self.law.log_cells(x, self.factor)
        return own.sum(-1) + torch.logsumexp(wide - own, -1) - log(self.space.size)

    @staticmethod
    def example() -> OneCellWide:
        """Of three cells."""
        return OneCellWide(ConditionalDensity.example(), 2.0)
