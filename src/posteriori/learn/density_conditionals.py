"""A density cell by cell: each, given those before it, is a shifted and scaled mixture of its own."""

from __future__ import annotations

from copy import deepcopy
from math import cos, log, pi
from typing import ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.core.space import Space

HALVINGS = 50
LAST_BITS = 2.0**-53
REACH = 12.0
"""Where quantiles are sought: so many widths beyond the outermost part."""
MOST = 8.0
"""Largest log-scale, up and down."""
GENTLEST = 0.01
"""The last learning rate as a share of the first."""
BATCH, CLIP = 1024, 10.0
NEGLIGIBLE = 0.03
"""A change of a cell, or of the logarithm of its scale, by one standard deviation of another that counts as none."""


class ConditionalDensity(nn.Module):
    """q(x) = Π q(xᵢ | x before): xᵢ = aᵢ + exp(sᵢ) rᵢ; a and s are linear in the cells before, r a Gaussian mixture.

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
        self.register_buffer("before", torch.ones(n, n, dtype=torch.float64).tril(-1))
        self.order: Tensor
        self.location: Tensor
        self.scale: Tensor
        self.before: Tensor
        spread = 1.5 if parts > 1 else 0.0
        where = torch.linspace(-spread, spread, parts, dtype=torch.float64).expand(n, parts)
        self.linear = nn.Parameter(torch.zeros(2, n, n, dtype=torch.float64))
        self.centres = nn.Parameter(where.clone())
        self.log_widths = nn.Parameter(torch.full((n, parts), log(0.5 if parts > 1 else 1.0), dtype=torch.float64))
        self.logits = nn.Parameter(torch.zeros(n, parts, dtype=torch.float64))

    @property
    def numbers(self) -> int:
        """Uniform numbers that one draw uses."""
        return self.space.size

    def points(self, u: Tensor) -> Tensor:
        """Rows (n, *space.shape) of uniform numbers (n, numbers), one for each cell."""
        return self.placed(self.residuals(u))

    def residuals(self, u: Tensor) -> Tensor:
        """r (n, cells) below which the mixtures hold the shares u (n, cells), in the order of the cells."""
        u = u.clamp(LAST_BITS, 1 - LAST_BITS)
        with torch.no_grad():
            weights, widths = torch.softmax(self.logits, -1), self.log_widths.exp()
            reach = REACH * widths.amax(-1)
            low = (self.centres.amin(-1) - reach).expand_as(u)
            high = (self.centres.amax(-1) + reach).expand_as(u)
            for _ in range(HALVINGS):
                middle = 0.5 * (low + high)
                held = (weights * torch.special.ndtr((middle[..., None] - self.centres) / widths)).sum(-1)
                low, high = torch.where(held < u, middle, low), torch.where(held < u, high, middle)
        return 0.5 * (low + high)

    def placed(self, r: Tensor) -> Tensor:
        """Rows (n, *space.shape) of residuals (n, cells)."""
        with torch.no_grad():
            z = torch.zeros_like(r)
            for i in range(self.space.size):
                shift = z @ (self.linear[0, i] * self.before[i])
                log_scale = (z @ (self.linear[1, i] * self.before[i])).clamp(-MOST, MOST)
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
        """log q(xᵢ | x before), and the same with every residual ``wide`` times further out, (*batch, cells)."""
        z = ((self.space.flat(x).double() - self.location) / self.scale)[..., self.order]
        shift = z @ (self.linear[0] * self.before).mT
        log_scale = (z @ (self.linear[1] * self.before).mT).clamp(-MOST, MOST)
        r = (z - shift) * (-log_scale).exp()
        jacobian = -log_scale - self.scale[self.order].log()
        own = self._log_mixture(r) + jacobian
        if wide == 1.0:
            return own, own
        middle = self.middles()
        return own, self._log_mixture(middle + (r - middle) / wide) - log(wide) + jacobian

    def middles(self) -> Tensor:
        """Means of the residuals, (cells,)."""
        return (torch.softmax(self.logits, -1) * self.centres).sum(-1)

    def wider(self, factor: float) -> OneCellWide:
        """The law in which one cell, any, lies ``factor`` times further out than this one says."""
        return OneCellWide(self, factor)

    def fitted(self, x: Tensor, weights: Tensor, rng: Rng, steps: int = 400, rate: float = 0.02) -> ConditionalDensity:
        """A copy of higher likelihood for rows (n, *space.shape) with weights (n,), by ``steps`` of Adam.

        Dependences that two thirds of the steps leave negligible are dropped for the last third.
        """
        law = deepcopy(self).requires_grad_()
        adam = torch.optim.Adam(law.parameters(), rate, betas=(0.9, 0.99))
        edges = weights.double().cumsum(0)
        kept = torch.ones_like(law.linear)
        for i in range(steps):
            for group in adam.param_groups:
                group["lr"] = rate * (GENTLEST + (1 - GENTLEST) * 0.5 * (1 + cos(pi * i / steps)))
            at = torch.searchsorted(edges / edges[-1].clone(), rng.uniform((BATCH,)), right=True).clamp_max(len(x) - 1)
            loss = -law.log_prob(x[at]).mean()
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(law.parameters(), CLIP)
            adam.step()
            if i == 2 * steps // 3:
                kept = (law.linear.detach().abs() > NEGLIGIBLE).to(kept)
            with torch.no_grad():
                law.linear.mul_(kept)
        return law.requires_grad_(False)

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
        with torch.no_grad():
            law.linear[1, 1, 0] = 0.4
            law.linear[0, 2, 1] = 0.3
        return law

    def _log_mixture(self, r: Tensor) -> Tensor:
        away = (r[..., None] - self.centres) * (-self.log_widths).exp()
        parts = torch.log_softmax(self.logits, -1) - self.log_widths - 0.5 * (away.square() + log(2 * pi))
        return torch.logsumexp(parts, -1)


class OneCellWide(nn.Module):
    """A conditional density of which one cell, chosen anew for each row, is wider: a scout with a known density.

    Args:
        law: the density.
        factor: how much further out the chosen cell lies.
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
        r, middle = self.law.residuals(u[:, 1:]), self.law.middles()
        chosen = (u[:, :1] * self.space.size).long().clamp_max(self.space.size - 1)
        wide = torch.ones_like(r).scatter(1, chosen, self.factor)
        return self.law.placed(middle + wide * (r - middle))

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
