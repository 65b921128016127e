"""The multistate Bennett acceptance ratio: free energies and weights from rows of several states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from posteriori.core.errors import DataError, UnanswerableError
from posteriori.core.random import Rng
from posteriori.inference.free_energy import FreeEnergies, Series, inefficiency

TOLERANCE = 1e-10
"""Largest error of a state's summed probabilities, as a share of all rows."""
STEPS = 200
LEAST_SHARED = 20.0
"""Effective independent rows that two groups of states must share for their difference to have a meaning."""
DISAGREE = 1.5
"""Ratio of the bootstrap's error to the analytic one above which the bootstrap's is taken."""
BLOCK = 3.0
"""Length of a bootstrap block in statistical inefficiencies."""


@dataclass(frozen=True)
class States:
    """Rows from several states, with the free energies that make them one weighted sample; made by :func:`mbar`.

    Attributes:
        reduced: energy [kT] of every row in every state, (state, row).
        series: how the rows are laid out.
        values: free energies (state,), the first zero.
        steps: Newton steps it took.
    """

    reduced: Tensor
    series: Series
    values: Tensor
    steps: int

    @cached_property
    def log_density(self) -> Tensor:
        """log Σ_k N_k exp(f_k - u_k), (row,): the mixture that the rows are drawn from."""
        return torch.logsumexp(self._shares(), 0)

    @cached_property
    def responsibility(self) -> Tensor:
        """The probability that a row is of each sampled state, (sampled state, row)."""
        return (self._shares() - self.log_density).exp()

    @cached_property
    def free_energies(self) -> FreeEnergies:
        """f of all states with the asymptotic covariance of its error; correlation within chains is paid for."""
        return self.asked(self.reduced)

    @cached_property
    def overlap(self) -> Tensor:
        """The mean probability that a row of state i is of state j, (sampled state, sampled state); rows sum to 1."""
        p = self.responsibility
        return p @ p.mT / self._sampled_counts()[:, None]

    def log_weights(self, energy: Tensor) -> Tensor:
        """Unnormalised log-weights (…, row) of all rows for any state, from its ``energy`` of them (…, row) [kT]."""
        return -energy - self.log_density

    def asked(self, energies: Tensor) -> FreeEnergies:
        """f of any states, from their ``energies`` of all rows (state, row) [kT]; +inf where a state forbids a row.

        Raises:
            UnanswerableError: a state has no row at all.
        """
        values, influence = self.influence(energies)
        return FreeEnergies(values, self.series.covariance_of_sum(influence.mT))

    def influence(self, energies: Tensor) -> tuple[Tensor, Tensor]:
        """f of any states, (j,), and how each row moves it, (j, row): its error is the sum over rows.

        Reference: Li, Van Koten, Dinner & Thiede (2023), Understanding the sources of error in MBAR through asymptotic
        analysis, J. Chem. Phys. 158, 214107.
        """
        log_w = self.log_weights(energies.double())
        values = -torch.logsumexp(log_w, 1)
        if not bool(torch.isfinite(values).all()):
            lost = (~torch.isfinite(values)).nonzero().flatten().tolist()
            raise UnanswerableError(f"states {lost} have no row of finite energy; nothing is known of them.")
        share = (log_w + values[:, None]).exp()
        return values, -share + share @ self.responsibility.mT @ self._own_influence

    def mean(self, energy: Tensor, figures: Tensor) -> tuple[Tensor, Tensor]:
        """Expectations under exp(-energy) of ``figures`` (…, row) and their standard errors, (…,)."""
        flat = figures.reshape(-1, figures.shape[-1]).double()
        log_w = self.log_weights(energy.double())
        share = torch.softmax(log_w, 0)
        mean = flat @ share
        moved = share * (flat - mean[:, None])
        influence = moved - moved @ self.responsibility.mT @ self._own_influence
        error = self.series.variance_of_sum(influence.mT).sqrt()
        return mean.reshape(figures.shape[:-1]), error.reshape(figures.shape[:-1])

    def shared(self) -> tuple[float, list[int], list[int]]:
        """Effective independent rows that the worst-joined two groups of sampled states share, and the two groups."""
        sampled = [k for k, n in enumerate(self.series.counts) if n]
        if len(sampled) < 2:
            return torch.inf, sampled, []
        order = _slowest(self.overlap, self._sampled_counts()).argsort()
        below = self.responsibility[order].cumsum(0)[:-1].clamp(0.0, 1.0)
        both = below * (1 - below)
        rows = both.sum(1).square() / both.square().sum(1).clamp_min(1e-300)
        rows = torch.minimum(rows, 4 * both.sum(1)) / self._costs()
        worst = int(rows.argmin())
        names = [sampled[int(i)] for i in order]
        return float(rows[worst]), sorted(names[: worst + 1]), sorted(names[worst + 1 :])

    def bootstrap(self, rng: Rng, replicates: int = 100) -> FreeEnergies:
        """f with the covariance of ``replicates`` resamplings, in blocks of three inefficiencies, of every chain."""
        found = []
        for i in range(replicates):
            rows = self._resampled(rng.child("replicate", i))
            values, _ = _solve(self.reduced[:, rows], self.series, self.values)
            found.append(values)
        return FreeEnergies(self.values, torch.cov(torch.stack(found).mT).reshape(len(self.values), -1))

    def checked(self, rng: Rng, replicates: int = 100) -> FreeEnergies:
        """The analytic errors where the block bootstrap agrees within half of them; else the bootstrap's."""
        analytic, resampled = self.free_energies, self.bootstrap(rng, replicates)
        ratio = resampled.errors() / analytic.errors().clamp_min(1e-300)
        trusted = bool((ratio[1:] < DISAGREE).all() and (ratio[1:] > 1 / DISAGREE).all())
        return analytic if trusted else resampled

    @cached_property
    def _own_influence(self) -> Tensor:
        """How each row moves the sampled states' f, (sampled state, row); the first one's stays."""
        p = self.responsibility
        hessian = torch.diag(p.sum(1)) - p @ p.mT
        moved = torch.zeros_like(p)
        moved[1:] = -torch.linalg.lstsq(hessian[1:, 1:], p[1:], driver="gelsd").solution
        return moved

    def _shares(self) -> Tensor:
        sampled = self._sampled()
        return self._sampled_counts().log()[:, None] + self.values[sampled, None] - self.reduced[sampled]

    def _sampled(self) -> Tensor:
        return torch.tensor([k for k, n in enumerate(self.series.counts) if n])

    def _sampled_counts(self) -> Tensor:
        return torch.tensor([n for n in self.series.counts if n], dtype=torch.float64)

    def _costs(self) -> float:
        """The mean inefficiency of the responsibilities."""
        if not self.series.correlated:
            return 1.0
        costs = [float(inefficiency(part).mean()) for part in self.series.parts(self.responsibility.mT)]
        return sum(costs) / len(costs)

    def _resampled(self, rng: Rng) -> Tensor:
        """Positions of the rows of one resampling."""
        found, at = [], 0
        parts = iter(self.series.parts(self.responsibility.mT))
        for n, chains in zip(self.series.counts, self.series.chains, strict=True):
            if not n:
                continue
            part, length = next(parts), n // chains
            cost = float(inefficiency(part).max()) if self.series.correlated else 1 / BLOCK
            block = max(1, min(round(BLOCK * cost), length // 2))
            for _ in range(chains):
                starts = rng.integers(length, (-(-length // block), 1))
                found.append(at + ((starts + torch.arange(block)) % length).flatten()[:length])
                at += length
        return torch.cat(found)


def mbar(
    reduced: Tensor,
    counts: Sequence[int],
    chains: int | Sequence[int] = 1,
    *,
    correlated: bool = True,
    least_shared: float = LEAST_SHARED,
) -> States:
    """Free energies of all states from rows of some of them, by Newton's method on a convex function.

    Args:
        reduced: energy [kT] of every row in every state, (state, row); rows of state 0 first. +inf is a forbidden row.
        counts: rows that come from each state; 0 for a state that is only asked about.
        chains: equal chains of each state, chain after chain.
        correlated: read the correlation of each chain off its rows; False takes them as independent.
        least_shared: effective independent rows that any two groups of states have to share.

    Raises:
        DataError: energies that are NaN or -inf, or counts that are not those of the rows.
        UnanswerableError: two groups of states overlap too little; the message says which.

    Reference: Shirts & Chodera (2008), Statistically optimal analysis of samples from multiple equilibrium states,
    J. Chem. Phys. 129, 124105.
    """
    series = Series.of(counts, chains, correlated)
    energies = _usable(reduced, series)
    values, steps = _solve(energies, series, torch.zeros(len(energies), dtype=torch.float64))
    states = States(energies, series, values, steps)
    rows, low, high = states.shared()
    if rows < least_shared:
        raise UnanswerableError(
            f"states {low} and {high} share {rows:.2g} effective rows, and {least_shared:g} are needed: their "
            "difference would be a guess. Add states between them, or sample longer."
        )
    return states


def _usable(reduced: Tensor, series: Series) -> Tensor:
    if reduced.ndim != 2 or reduced.shape[0] != len(series.counts) or reduced.shape[1] != sum(series.counts):
        raise DataError(
            f"energies {tuple(reduced.shape)} are not (state, row) for the counts {list(series.counts)}; "
            "give the energy of every row in every state."
        )
    if sum(series.counts) == 0:
        raise DataError("no rows at all; give rows of at least one state.")
    energies = reduced.detach().double()
    if bool(torch.isnan(energies).any()) or bool((energies == -torch.inf).any()):
        k, n = ((torch.isnan(energies)) | (energies == -torch.inf)).nonzero()[0].tolist()
        raise DataError(f"the energy of row {n} in state {k} is NaN or -inf; find out why before weighing rows.")
    start = 0
    for k, n in enumerate(series.counts):
        own = energies[k, start : start + n]
        if bool((own == torch.inf).any()):
            row = start + int((own == torch.inf).nonzero()[0])
            raise DataError(f"row {row} is said to come from state {k}, which forbids it; are the rows in order?")
        start += n
    return energies


def _solve(energies: Tensor, series: Series, start: Tensor) -> tuple[Tensor, int]:
    """Free energies (state,), the first zero, and the Newton steps taken."""
    sampled = torch.tensor([k for k, n in enumerate(series.counts) if n])
    counts = torch.tensor([n for n in series.counts if n], dtype=torch.float64)
    u = energies[sampled]
    f, steps = _newton(u, counts, start[sampled] - start[sampled][0])
    density = torch.logsumexp(counts.log()[:, None] + f[:, None] - u, 0)
    values = -torch.logsumexp(-energies - density, 1)
    return values - values[0], steps


def _newton(u: Tensor, counts: Tensor, f: Tensor) -> tuple[Tensor, int]:
    """The minimum over f of Σ_n log Σ_k N_k exp(f_k - u_kn) - Σ_k N_k f_k; a step that does not descend is replaced
    by the self-consistent one, which always does."""
    log_counts, total = counts.log()[:, None], counts.sum()
    for _ in range(5):
        f = _self_consistent(u, log_counts, f)
    log_p = log_counts + f[:, None] - u
    density = torch.logsumexp(log_p, 0)
    for step in range(STEPS):
        p = (log_p - density).exp()
        slope = p.sum(1) - counts
        if float(slope.abs().max()) <= TOLERANCE * float(total):
            return f, step
        hessian = torch.diag(p.sum(1)) - p @ p.mT
        move = torch.zeros_like(f)
        move[1:] = -torch.linalg.lstsq(hessian[1:, 1:], slope[1:, None], driver="gelsd").solution[:, 0]
        tried = f + move
        log_p_tried = log_counts + tried[:, None] - u
        density_tried = torch.logsumexp(log_p_tried, 0)
        gain = (density_tried - density).sum() - (counts * move).sum()
        if not bool(torch.isfinite(gain)) or float(gain) > 1e-9 * float(total):
            tried = _self_consistent(u, log_counts, f)
            log_p_tried = log_counts + tried[:, None] - u
            density_tried = torch.logsumexp(log_p_tried, 0)
        f, log_p, density = tried, log_p_tried, density_tried
    raise UnanswerableError(
        f"free energies have not settled in {STEPS} steps; the states hardly overlap: add states between them."
    )


def _self_consistent(u: Tensor, log_counts: Tensor, f: Tensor) -> Tensor:
    density = torch.logsumexp(log_counts + f[:, None] - u, 0)
    new = -torch.logsumexp(-u - density, 1)
    return new - new[0]


def _slowest(overlap: Tensor, counts: Tensor) -> Tensor:
    """The second eigenvector of the overlap matrix: states that seldom share rows lie far apart in it."""
    root = counts.sqrt()
    symmetric = root[:, None] * overlap / root
    vectors = torch.linalg.eigh((symmetric + symmetric.mT) / 2).eigenvectors
    return vectors[:, -2] / root
