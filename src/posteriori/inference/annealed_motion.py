"""Walkers between a proposal and a target: the geometric path, Hamiltonian moves on it, and what a pilot learns."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from posteriori.core.draws import systematic
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.random import Rng
from posteriori.core.weights import ess, log_mean_exp
from posteriori.inference.adaptation import Dense, Diagonal, Metric
from posteriori.inference.hmc import Slope

ENOUGH = 5
"""Pilot rows a coordinate from which correlations are learnt too."""
TUNING = 4
"""Moves at each place of the path from which a pilot learns the step size."""
MOST_PLACES = 400
FIRST_STEP = 0.3


@dataclass(frozen=True)
class Motion:
    """Hamiltonian moves at each place of a path.

    Args:
        moves: at each place.
        steps: leapfrog steps of a move, at most; 1 … ``steps`` are taken.
        accept: acceptance rate to which a pilot tunes the step size.

    Raises:
        OptionError: numbers outside what is possible.
    """

    moves: int = 1
    steps: int = 5
    accept: float = 0.75

    def __post_init__(self) -> None:
        if min(self.moves, self.steps) < 1 or not 0 < self.accept < 1:
            raise OptionError(f"{self}: moves and steps are at least 1, accept lies in (0, 1).")


@dataclass(frozen=True)
class Path:
    """Energies (1 - b) E_q + b E_p for b from 0 to its end, and how walkers move at each.

    Attributes:
        places: rising b, the first above 0.
        metrics: step size times shape of the walkers at each place.
    """

    places: tuple[float, ...]
    metrics: tuple[Metric, ...]


@dataclass
class Walkers:
    """Walkers at ``u`` (row, island, *problem, n), their log-weights (row, island, *problem), and what they cost.

    Args:
        below, above: energies E_q = -log q and E_p with their slopes.
        u: rows drawn from q.
        rng: the stream of moves and resampling.

    ``ancestors`` (row, island, *problem) says from which row of its island each walker descends.
    """

    below: Slope
    above: Slope
    u: Tensor
    rng: Rng
    place: float = 0.0
    calls: int = 0
    accepted: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.q, self.q_slope, self.p, self.p_slope = self._look(self.u)
        self.log_weights = torch.zeros_like(self.p)
        first = torch.arange(len(self.p)).reshape(-1, *(1,) * (self.p.ndim - 1))
        self.ancestors = first.expand(self.p.shape)

    def gains(self, to: float) -> Tensor:
        """Log-weights that going on ``to`` a place would add."""
        gain = -(to - self.place) * (self.p - self.q)
        return torch.where(gain.isnan(), -torch.inf, gain)

    def go(self, to: float) -> None:
        """On to a place: log-weights grow, nobody moves."""
        self.log_weights = self.log_weights + self.gains(to)
        self.place = to

    def move(self, metric: Metric, most: int) -> Tensor:
        """One Hamiltonian move of all; acceptance probabilities (row, island, *problem)."""
        length = 1 + int(self.rng.integers(most, ()))
        metric = metric.stretched(0.8 + 0.4 * self.rng.uniform((), self.u))
        momentum = self.rng.normal(self.u.shape, self.u)
        before = self._energy(self.q, self.p) + 0.5 * momentum.double().square().sum(-1)
        u, q_slope, p_slope = self.u, self.q_slope, self.p_slope
        momentum = momentum - 0.5 * metric.pull(self._slope(q_slope, p_slope))
        for i in range(length):
            u = u + metric.push(momentum)
            q, q_slope, p, p_slope = self._look(u)
            momentum = momentum - (0.5 if i == length - 1 else 1.0) * metric.pull(self._slope(q_slope, p_slope))
        gained = before - self._energy(q, p) - 0.5 * momentum.double().square().sum(-1)
        chance = torch.where(torch.isfinite(gained), gained, -torch.inf).clamp_max(0.0).exp()
        taken = self.rng.uniform(chance.shape, chance) < chance
        self._take(taken, (u, q, q_slope, p, p_slope))
        self.accepted.append(chance)
        return chance

    def resample(self, chosen: Tensor) -> None:
        """Systematic resampling within each island of the ``chosen`` (island, *problem); weights become their mean."""
        n = len(self.u)
        flat = self.log_weights.reshape(n, -1)
        index = systematic(torch.softmax(flat, 0), n, self.rng)
        keep = torch.arange(n)[:, None]
        index = torch.where(chosen.reshape(-1), index, keep).reshape(self.log_weights.shape)
        mean = log_mean_exp(self.log_weights)[0].expand_as(self.log_weights)
        self.log_weights = torch.where(chosen, mean, self.log_weights)
        wide = index[..., None].expand_as(self.u)
        self.u, self.q_slope, self.p_slope = (t.gather(0, wide) for t in (self.u, self.q_slope, self.p_slope))
        self.q, self.p, self.ancestors = (t.gather(0, index) for t in (self.q, self.p, self.ancestors))

    def _look(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        self.calls += u[..., 0].numel()
        return (*self.below(u), *self.above(u))

    def _energy(self, q: Tensor, p: Tensor) -> Tensor:
        return (1 - self.place) * q + self.place * p

    def _slope(self, q_slope: Tensor, p_slope: Tensor) -> Tensor:
        return (1 - self.place) * q_slope + self.place * p_slope

    def _take(self, taken: Tensor, new: tuple[Tensor, ...]) -> None:
        u, q, q_slope, p, p_slope = new
        wide = taken[..., None]
        self.u = torch.where(wide, u, self.u)
        self.q_slope = torch.where(wide, q_slope, self.q_slope)
        self.p_slope = torch.where(wide, p_slope, self.p_slope)
        self.q, self.p = torch.where(taken, q, self.q), torch.where(taken, p, self.p)


def laid_out(walkers: Walkers, end: float, share: float, motion: Motion) -> Path:
    """A path to ``end`` whose steps each keep ``share`` of the effective walkers, with tuned moves; uses them up.

    Raises:
        UnanswerableError: no walker meets the target, or the path would need too many places.
    """
    if bool((walkers.p == torch.inf).all(0).any()):
        raise UnanswerableError("no row of the proposal has a finite energy; give a proposal that meets the target.")
    shape = walkers.u[0, 0]
    step = torch.full(shape.shape[:-1], FIRST_STEP, dtype=shape.dtype, device=shape.device)
    metric: Metric = Diagonal(torch.ones_like(shape))
    if len(walkers.u) >= ENOUGH * shape.shape[-1]:
        metric = Dense(torch.diag_embed(torch.ones_like(shape)))
    places: list[float] = []
    metrics: list[Metric] = []
    while walkers.place < end:
        if len(places) == MOST_PLACES:
            raise UnanswerableError(
                f"more than {MOST_PLACES} temperatures lie between proposal and target (arrived at "
                f"{walkers.place:.3g} of {end:g}); give a proposal nearer to the target."
            )
        walkers.go(_next(walkers, end, share))
        walkers.resample(torch.ones_like(step, dtype=torch.bool)[None])
        metric = metric.learnt(walkers.u[:, 0])
        for _ in range(max(TUNING, motion.moves)):
            step = step * (walkers.move(metric.stretched(step), motion.steps)[:, 0].mean(0) - motion.accept).exp()
        places.append(walkers.place)
        metrics.append(metric.stretched(step))
    return Path(tuple(places), tuple(metrics))


def walked(walkers: Walkers, path: Path, motion: Motion, below: float) -> None:
    """All along the path; an island whose effective share falls ``below`` is resampled, never where it is 0."""
    for place, metric in zip(path.places, path.metrics, strict=True):
        walkers.go(place)
        if below:
            poor = ess(walkers.log_weights) < below * len(walkers.u)
            if bool(poor.any()):
                walkers.resample(poor)
        for _ in range(motion.moves):
            walkers.move(metric, motion.steps)


def _next(walkers: Walkers, end: float, share: float) -> float:
    """The farthest place at which every problem keeps ``share`` of its effective walkers."""

    def kept(to: float) -> float:
        return float(ess(walkers.gains(to)).min()) / len(walkers.u)

    if kept(end) >= share:
        return end
    low, high = walkers.place, end
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if kept(middle) >= share else (low, middle)
    return high if low == walkers.place else low
