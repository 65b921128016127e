"""The committor by the variational form of the backward Kolmogorov equation: the network of least reactive flux."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, OptionError, UnanswerableError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Target
from posteriori.inference.committor_net import CommittorNet, two_discs

ROWS_AT_ONCE = 4096
SMALLEST = 1e-3
"""Share of a Gauss-Newton step below which it is given up."""
SETTLED = 1e-4
"""Relative fall of the flux below which steps end."""
LEAST_STEEPNESS = 1e-3


class BackwardKolmogorov(Target):
    """Which weights of a committor network give the least flux ∫ π |∇q|² over weighted configurations?

    Args:
        net: the network, 0 in A and 1 in B by construction.
        points: configurations (n, d), chain after chain.
        log_weights: (n,), of the law π over that of the points, unnormalised.
        chains: independent runs that the points come from, in equal parts.

    Raises:
        DataError: points and weights of other numbers, or not finite.
    """

    def __init__(self, net: CommittorNet, points: Tensor, log_weights: Tensor, chains: int) -> None:
        super().__init__()
        if len(points) != len(log_weights) or len(points) % chains:
            raise DataError(f"{len(points)} points, {len(log_weights)} weights and {chains} equal chains do not fit.")
        if not bool(torch.isfinite(points).all()) or not bool(torch.isfinite(log_weights).all()):
            raise DataError("a configuration or its weight is not finite.")
        self.net, self.space, self.chains = net, net.weights, chains
        self.register_buffer("points", points.double())
        self.register_buffer("weights", torch.softmax(log_weights.double(), 0))
        self.points: Tensor
        self.weights: Tensor

    def energy(self, x: Tensor) -> Tensor:
        """The flux (*batch,) for weights (*batch, width (d + 2)), for D = 1."""
        rows = x.reshape(-1, self.space.size)
        return torch.stack([self.flux(row).sum() for row in rows]).reshape(x.shape[:-1])

    def flux(self, row: Tensor) -> Tensor:
        """Contribution of each point to ∫ π |∇q|² under one network, (n,)."""
        split = self.net.width * (len(self.net.centre) + 1)
        found = torch.zeros_like(self.weights)
        between = torch.isfinite(self.net.lift(self.points)).nonzero()[:, 0]
        for at in between.split(ROWS_AT_ONCE):
            lift, lift_slope, waves, slopes = self.net.features(row[:split], self.points[at])
            q = torch.sigmoid(lift + waves @ row[split:])
            steep = (q * (1 - q))[:, None] * (lift_slope + slopes @ row[split:])
            found[at] = self.weights[at] * steep.square().sum(-1)
        return found


@dataclass(frozen=True)
class VariationalCommittor:
    """An ensemble of networks of least flux: hidden weights drawn, output weights fitted, chains drawn anew.

    q minimises ∫ π |∇q|² among the functions that are 0 in A and 1 in B; for given hidden weights a few Gauss-Newton
    steps find it, and those of the first member start the others. Every member has its own hidden layer and its own
    bootstrap of the chains, so that the spread of ``posterior.map(net.at(points))`` speaks of both: too few features
    and too few configurations.

    Args:
        members: networks.
        steps: of Gauss-Newton, at most.
        ridge: pull of the output weights to zero, as a share of the mean curvature.

    Reference: E & Vanden-Eijnden (2006), Towards a theory of transition paths, J. Stat. Phys. 123, 503; Khoo, Lu & Ying
    (2019), Solving for high-dimensional committor functions using artificial neural networks, Res. Math. Sci. 6, 1.
    """

    members: int = 16
    steps: int = 30
    ridge: float = 1e-6

    references: ClassVar[tuple[str, ...]] = (
        "E & Vanden-Eijnden (2006), Towards a theory of transition paths, J. Stat. Phys. 123, 503.",
        "Khoo, Lu & Ying (2019), Solving for high-dimensional committor functions using artificial neural networks, "
        "Res. Math. Sci. 6, 1.",
    )

    def __post_init__(self) -> None:
        if min(self.members, self.steps) < 1 or not 0 < self.ridge < 1:
            raise OptionError(f"{self}: members and steps from 1, ridge in (0, 1).")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Weights of every network, a row each.

        Raises:
            UnanswerableError: another target than :class:`BackwardKolmogorov`.
        """
        if not isinstance(target, BackwardKolmogorov):
            raise UnanswerableError(f"VariationalCommittor answers BackwardKolmogorov, not {type(target).__name__}.")
        rows: list[Tensor] = []
        for i in context.progress(range(self.members), "VariationalCommittor", self.members):
            rng = context.rng.child("member", i)
            hidden = target.net.hidden(1, rng.child("hidden"))[0]
            often = _bootstrap(target.chains, rng.child("chains"))
            share = target.weights * often.repeat_interleave(len(target.points) // target.chains)
            solver = _Newton(target.net, hidden, target.points, share, self.ridge)
            w = solver.fitted(rows[0]) if rows else solver.w
            rows.append(torch.cat([hidden, solver.descend(w, self.steps)]))
        return Draws(target.space, torch.stack(rows))

    @staticmethod
    def example() -> tuple[VariationalCommittor, BackwardKolmogorov]:
        """Two discs in a harmonic well."""
        points = Rng(0).child("points").normal((400, 2))
        return VariationalCommittor(40, 3, 1e-3), BackwardKolmogorov(
            two_discs(), points, torch.zeros(400, dtype=torch.float64), 20
        )


class _Newton:
    """Gauss-Newton steps in the output weights of one network, for ∫ π |∇q|² over points of weight ``share``."""

    def __init__(self, net: CommittorNet, hidden: Tensor, points: Tensor, share: Tensor, ridge: float) -> None:
        used = (share > 0) & torch.isfinite(net.lift(points))
        self.net, self.hidden, self.ridge = net, hidden, ridge
        self.points, self.share = points[used], share[used]
        self.w = torch.zeros(net.width, dtype=torch.float64)

    def descend(self, w: Tensor, steps: int) -> Tensor:
        """The weights after Gauss-Newton ``steps``, each halved until the flux falls."""
        for _ in range(steps):
            matrix, right, flux = self._linearised(w)
            change = _solved(matrix, right, self.ridge)
            factor = 1.0
            while factor > SMALLEST and not self._flux(w + factor * change) < flux:
                factor /= 2
            if factor <= SMALLEST:
                break
            w = w + factor * change
            if abs(flux - self._flux(w)) < SETTLED * flux:
                break
        return w

    def fitted(self, row: Tensor) -> Tensor:
        """Output weights whose log-odds are nearest to those of another network, as far as they matter for q."""
        width = self.net.width
        matrix, right = torch.zeros(width, width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
        split = width * (len(self.net.centre) + 1)
        for part, share in self._parts():
            other = self.net.phases(row[:split], part).sin() @ row[split:]
            q = torch.sigmoid(self.net.lift(part) + other)
            waves = self.net.phases(self.hidden, part).sin()
            weight = share.sqrt() * (q * (1 - q) + LEAST_STEEPNESS)
            matrix += waves.mT @ (weight[:, None] * waves)
            right += waves.mT @ (weight * other)
        return _solved(matrix, right, self.ridge)

    def _linearised(self, w: Tensor) -> tuple[Tensor, Tensor, float]:
        """Gauss-Newton matrix, right-hand side, and the flux."""
        width = self.net.width
        matrix, right = torch.zeros(width, width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
        flux = 0.0
        for part, share in self._parts():
            lift, lift_slope, waves, slopes = self.net.features(self.hidden, part)
            q = torch.sigmoid(lift + waves @ w)
            root = share.sqrt() * q * (1 - q)
            slope = lift_slope + slopes @ w
            rows = slopes + ((1 - 2 * q)[:, None] * slope)[..., None] * waves[:, None, :]
            rows = (rows * root[:, None, None]).reshape(-1, width)
            residual = (slope * root[:, None]).reshape(-1)
            matrix += rows.mT @ rows
            right -= rows.mT @ residual
            flux += float(residual.square().sum())
        return matrix, right, flux

    def _flux(self, w: Tensor) -> float:
        total = 0.0
        for part, share in self._parts():
            lift, lift_slope, waves, slopes = self.net.features(self.hidden, part)
            q = torch.sigmoid(lift + waves @ w)
            steep = (q * (1 - q))[:, None] * (lift_slope + slopes @ w)
            total += float(share @ steep.square().sum(-1))
        return total

    def _parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.points.split(ROWS_AT_ONCE), self.share.split(ROWS_AT_ONCE), strict=True)


def _solved(matrix: Tensor, right: Tensor, ridge: float) -> Tensor:
    damped = matrix + ridge * matrix.diagonal().mean() * torch.eye(len(right), dtype=torch.float64)
    return torch.cholesky_solve(right[:, None], torch.linalg.cholesky(damped))[:, 0]


def _bootstrap(chains: int, rng: Rng) -> Tensor:
    """How often each chain is drawn, (chains,)."""
    return torch.bincount(rng.integers(chains, (chains,)), minlength=chains).double()
