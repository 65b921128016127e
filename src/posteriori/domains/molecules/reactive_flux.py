"""Flux and rate from several committor networks: products of different networks, rows steadied by controls."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.core.target import Boltzmann
from posteriori.domains.molecules.kinetics import LEVELS, Rows
from posteriori.inference.committor_net import CommittorNet

AT_ONCE = 4096
WAVES, CHAINS_EACH = 60, 5
"""Controls of each law, and the chains that each of them takes at least."""
WAVELENGTH = 0.7
"""Of the controls, in spreads of the hot law."""
COLDER = (0.02, 0.3, 1.0)
"""Laws of the controls, as a share of the way from the hot inverse temperature to that of the target."""
LEAST_WAY = 0.5
"""Of them at least, where the rows are hardly hotter than the target."""
LIKELY = 20.0
"""Log-weights below the largest within which rows tell the scale of the controls."""


@dataclass(frozen=True)
class Flux:
    """What follows from committors, for D = 1, each with its standard error from chains and networks.

    Attributes:
        flux: reactive trajectories in a unit of time.
        last_a: share of the time in which A was visited last.
        rate: flux / last_a.
        excess: flux of the networks by themselves over that of their products, less one: what each adds by its error.
        by_level: flux through slices of q, LEVELS of equal width, and their errors.
    """

    flux: float
    flux_error: float
    last_a: float
    rate: float
    rate_error: float
    excess: float
    by_level: Tensor
    by_level_error: Tensor

    @property
    def unevenness(self) -> float:
        """χ² of the slices' fluxes about their weighted mean, for each degree of freedom: 1 where they are equal."""
        precision = self.by_level_error.clamp_min(1e-300).square().reciprocal()
        mean = (precision * self.by_level).sum() / precision.sum()
        return float((precision * (self.by_level - mean).square()).sum() / (len(self.by_level) - 1))


def flux_of(net: CommittorNet, rows: Rows, members: Tensor, controls: Tensor) -> Flux:
    """Flux, rate and slices from the networks ``members`` (two or more rows) over weighted configurations.

    A network q + δ has the flux k + ∫ π |∇δ|², above the truth whatever its error δ is. The product ∫ π ∇q₁·∇q₂ of two
    has k + ∫ π ∇δ₁·∇δ₂, which averages to k where the errors are independent, as those of networks learnt from chains
    that they do not share; all pairs are averaged. What rows make uncertain is reduced by regression of the sums over
    chains on ``controls`` (chains, n), whose mean is known to be zero. Errors add the scatter of chains that is left
    and the jackknife over members.

    Raises:
        OptionError: a single network.
    """
    if len(members) < 2:
        raise OptionError("products of different networks need two members or more.")
    sums, gram = _sums(net, rows, members)
    flux, last_a, levels = float(sums[:, 0].sum()), float(sums[:, 1].sum()), sums[:, 3:]
    c, d, share = sums[:, 0] / flux, sums[:, 1] / last_a, sums[:, 2]
    (by_rate, by_flux, by_last), errors = _steadied(torch.stack([c - d, c - share, d - share], 1), controls)
    between = _between(gram) / flux
    left, wide = _steadied(levels / flux - levels.sum(0) / flux * share[:, None], controls)
    rate = flux / last_a * float(1 + by_rate)
    return Flux(
        flux * float(1 + by_flux),
        flux * float((errors[1].square() + between**2).sqrt()),
        last_a * float(1 + by_last),
        rate,
        rate * float((errors[0].square() + between**2).sqrt()),
        float(gram.diagonal().mean()) / flux - 1,
        levels.sum(0) + flux * left,
        flux * wide,
    )


def controls_of(target: Boltzmann, rows: Rows, heat: float, rng: Rng) -> Tensor:
    """Sums over each chain of functions that average zero under the law exp(-energy / heat) of the rows, (chains, n).

    For a law exp(-b E) and any smooth bounded h, the mean of Δh - b ∇E·∇h is zero, by integration by parts; weights
    carry it to the rows. h are sines of random direction, b three inverse temperatures from the rows' to the target's,
    the first a little colder, so that chains lost far out count nothing.

    Reference: Assaraf & Caffarel (1999), Zero-variance principle for Monte Carlo algorithms, Phys. Rev. Lett. 83, 4682.
    """
    n = max(1, min(WAVES, rows.chains // (CHAINS_EACH * len(COLDER))))
    settled = rows.log_weights > rows.log_weights.max() - LIKELY
    scale = rows.values[settled].std(0) * WAVELENGTH
    a, phase = rng.normal((n, len(scale))) / scale, 2 * pi * rng.uniform((n,))
    parts = []
    for x in rows.values.split(AT_ONCE):
        where = x.detach().requires_grad_()
        with torch.enable_grad():
            energy = target.energy(where)
            pull = torch.autograd.grad(energy.sum(), where)[0]
        energy = energy.detach()
        angle = x @ a.mT + phase
        bend, along = -a.square().sum(-1) * angle.sin(), (pull @ a.mT) * angle.cos()
        steps = [share * max(1 - 1 / heat, LEAST_WAY) for share in COLDER]
        parts.append(
            torch.cat([(-step * energy).exp()[:, None] * (bend - (1 / heat + step) * along) for step in steps], -1)
        )
    return torch.cat(parts).reshape(rows.chains, -1, n * len(COLDER)).sum(1)


def _sums(net: CommittorNet, rows: Rows, members: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over chains of pairs' flux, π (1 - q), π, slices (chains, 3 + LEVELS); ∫ π ∇qᵢ·∇qⱼ (members, members)."""
    m, split = len(members), net.width * (len(net.centre) + 1)
    share = torch.softmax(rows.log_weights, 0)
    gram = torch.zeros(m, m, dtype=torch.float64)
    parts = []
    for x, w in zip(rows.values.split(AT_ONCE), share.split(AT_ONCE), strict=True):
        q = (net.a.gap(x) > 0).double().expand(m, -1).clone()
        slopes = torch.zeros(m, *x.shape, dtype=torch.float64)
        between = torch.isfinite(net.lift(x)).nonzero()[:, 0]
        for k, row in enumerate(members):
            lift, lift_slope, waves, wave_slopes = net.features(row[:split], x[between])
            value = torch.sigmoid(lift + waves @ row[split:])
            q[k, between] = value
            slopes[k, between] = (value * (1 - value))[:, None] * (lift_slope + wave_slopes @ row[split:])
        gram += torch.einsum("n,knd,lnd->kl", w, slopes, slopes)
        pairs = w * (slopes.sum(0).square().sum(-1) - slopes.square().sum((0, 2))) / (m * (m - 1))
        mean = q.mean(0)
        slices = (mean * LEVELS).long().clamp(0, LEVELS - 1)[:, None] == torch.arange(LEVELS)
        parts.append(torch.cat([torch.stack([pairs, w * (1 - mean), w], 1), LEVELS * pairs[:, None] * slices], 1))
    return torch.cat(parts).reshape(rows.chains, -1, 3 + LEVELS).sum(1), gram


def _steadied(gaps: Tensor, controls: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of ``gaps`` (chains, k) where the controls are at their mean of zero, and standard errors, (k,)."""
    chains = len(gaps)
    alike = sqrt(chains) * controls / controls.norm(dim=0).clamp_min(1e-300)
    design = torch.cat([torch.ones(chains, 1, dtype=torch.float64), alike], 1)
    inner = torch.linalg.pinv(design.mT @ design, rtol=1e-9, hermitian=True)
    found = inner @ (design.mT @ gaps)
    left = (gaps - design @ found).square().sum(0) / (chains - design.shape[1])
    return chains * found[0], chains * (left * inner[0, 0]).sqrt()


def _between(gram: Tensor) -> float:
    """Standard error of the mean product of pairs from the choice of members: jackknife, for two what bounds it."""
    m = len(gram)
    alone = gram.diagonal()
    if m == 2:
        return float((alone.mean() - gram[0, 1]).abs())
    rest = gram.sum() - 2 * gram.sum(1) + 2 * alone - alone.sum()
    without = rest / ((m - 1) * (m - 2))
    return sqrt(float((without - without.mean()).square().sum()) * (m - 1) / m)
