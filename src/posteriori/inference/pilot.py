"""Which sampler to take: each runs for a moment, and effective samples per CPU second decide, training counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from posteriori.core import weights
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.run import Context
from posteriori.core.target import Target
from posteriori.core.threads import fixed_threads

FEWEST = 50
"""Draws (of each chain) of the first run."""
MOST = 20_000
"""Draws (of each chain) of the last run at most."""
FAR = 5.0
"""Standard errors from which two candidates contradict each other."""
TRUSTED_K, TRUSTED_RHAT = 0.7, 1.1
"""Above these a sampler's answer counts for nothing."""
Observables = Callable[[Tensor], Tensor]
"""Figures (draw, k) of rows (draw, *space.shape); the slowest of them counts."""


class Sized(Protocol):
    """A method, a frozen dataclass, that makes as many ``draws`` as it is told to."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def draws(self) -> int:
        """Rows, of each chain where there are chains."""

    def __call__(self, target: Target, context: Context, /) -> Draws:
        """The rows."""


@dataclass(frozen=True)
class Candidate:
    """A sampler that may be chosen, and the CPU seconds that its training took before."""

    method: Sized
    training_seconds: float = 0.0


@dataclass(frozen=True)
class Trial:
    """How one candidate did.

    Attributes:
        name: of the candidate.
        fixed_seconds: CPU time before the first row: training and warm-up.
        rate: effective samples of the slowest figure for each further CPU second; 0 where the answer is not trusted.
        means, spreads, errors: of the figures (k,); standard errors from their effective samples.
        why: what speaks against trusting it; empty where nothing does.
        method: the sampler. draws: its rows.
    """

    name: str
    method: Sized
    fixed_seconds: float
    rate: float
    means: Tensor
    spreads: Tensor
    errors: Tensor
    why: str
    draws: Draws

    def seconds(self, effective: float) -> float:
        """CPU time to as many ``effective`` samples, all counted."""
        return self.fixed_seconds + effective / self.rate if self.rate > 0 else inf


@dataclass(frozen=True)
class Choice:
    """The trials of all candidates, and which is the best for the number of effective samples that is wanted."""

    trials: tuple[Trial, ...]
    effective: float

    @property
    def best(self) -> Trial:
        """The trusted candidate that gets there with least CPU time.

        Raises:
            UnanswerableError: none is trusted.
        """
        best = min(self.trials, key=lambda trial: trial.seconds(self.effective))
        if best.rate == 0:
            reasons = "; ".join(f"{trial.name}: {trial.why}" for trial in self.trials)
            raise UnanswerableError(f"no candidate can be trusted ({reasons}); give the pilot more time.")
        return best

    def __getitem__(self, name: str) -> Trial:
        for trial in self.trials:
            if trial.name == name:
                return trial
        raise OptionError(f"no candidate is named {name!r}; there are {', '.join(t.name for t in self.trials)}.")

    def break_even(self, name: str) -> float:
        """Effective samples from which ``name`` needs less CPU time than every other trusted candidate; inf if never.

        0 where it is ahead from the first sample.
        """
        mine, found = self[name], 0.0
        if mine.rate == 0:
            return inf
        for other in self.trials:
            if other.name == name or other.rate == 0:
                continue
            dearer, gain = mine.fixed_seconds - other.fixed_seconds, 1 / other.rate - 1 / mine.rate
            if gain <= 0 and (dearer > 0 or gain < 0):
                return inf
            found = max(found, dearer / gain if gain > 0 else 0.0)
        return found

    @property
    def disagreement(self) -> float:
        """Largest difference between the means of two trusted candidates, in standard errors of the difference."""
        trusted = [trial for trial in self.trials if trial.rate > 0]
        worst = 0.0
        for i, a in enumerate(trusted):
            for b in trusted[:i]:
                worst = max(worst, float(((a.means - b.means) / (a.errors**2 + b.errors**2).sqrt()).abs().max()))
        return worst


def pilot(
    target: Target,
    candidates: Mapping[str, Candidate],
    context: Context,
    effective: float = 1e4,
    seconds: float = 1.0,
    observables: Observables | None = None,
) -> Choice:
    """Run every candidate for about ``seconds`` of CPU time and compare.

    A chain counts by the effective samples of its slowest figure, weights by Kish's effective sample size. A sampler
    whose chains disagree (R̂ above 1.1), whose weights have k̂ above 0.7, or which finds less spread than another one
    about a mean that is five standard errors off, is not trusted. Each candidate warms up four times.

    Args:
        target: the question.
        candidates: the samplers by name.
        context: its randomness.
        effective: effective samples that are wanted in the end; training pays from some number on.
        seconds: CPU time of each candidate, beside its warm-up.
        observables: the figures that matter; the energy and every coordinate without.

    Raises:
        OptionError: no candidate, or nothing wanted.
    """
    if not candidates or not effective > 0 or not seconds > 0:
        raise OptionError(
            f"a pilot of {len(candidates)} candidates for {effective:g} samples in {seconds:g} s is none."
        )
    look = observables or _coordinates(target)
    with fixed_threads():
        trials = [_trial(name, one, target, look, seconds, context.child(name)) for name, one in candidates.items()]
    return Choice(tuple(_narrow(trial, trials) for trial in trials), effective)


def _narrow(trial: Trial, trials: Sequence[Trial]) -> Trial:
    """The trial, no longer trusted where another one found far other means and a wider spread about them."""
    for other in trials:
        if other is trial or 0 in (trial.rate, other.rate):
            continue
        z = (trial.means - other.means).abs() / (trial.errors**2 + other.errors**2).sqrt()
        if bool(((z > FAR) & (trial.spreads < other.spreads)).any()):
            return replace(trial, rate=0.0, why=f"misses what {other.name} finds")
    return trial


def _coordinates(target: Target) -> Observables:
    def look(x: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([target.energy(x)[:, None], target.space.flat(x).double()], -1)

    return look


def _trial(name: str, one: Candidate, target: Target, look: Observables, seconds: float, context: Context) -> Trial:
    _timed(one.method, FEWEST, target, context)  # so that loading code counts for nothing
    few, _ = _timed(one.method, FEWEST, target, context)
    more = max(8 * FEWEST, int(FEWEST * min(seconds / max(few, 1e-4), MOST / FEWEST)))
    spent, draws = _timed(one.method, more, target, context)
    for_each = max(spent - few, 1e-4) / (more - FEWEST)
    if spent - few < seconds / 2:
        more = min(int(seconds / for_each), MOST)
        spent, draws = _timed(one.method, more, target, context)
        for_each = max(spent - few, 1e-4) / (more - FEWEST)
    fixed = max(0.0, few - FEWEST * for_each) + one.training_seconds
    figures = look(draws.values)
    effective, why = _effective(draws, figures)
    w = draws.weights.reshape(-1, 1).expand(len(figures), 1)
    means = (w * figures).sum(0)
    spread = (w * (figures - means).square()).sum(0).sqrt()
    rate = float(effective.min()) / (more * for_each) if not why else 0.0
    return Trial(name, one.method, fixed, rate, means, spread, spread / effective.clamp_min(1.0).sqrt(), why, draws)


def _effective(draws: Draws, figures: Tensor) -> tuple[Tensor, str]:
    """Effective samples of each figure, and what speaks against them."""
    if draws.log_weights is not None:
        k = float(draws.pareto_k().max())
        ess = weights.ess(draws.log_weights).min().expand(figures.shape[1])
        return ess, "" if k <= TRUSTED_K else f"Pareto k̂ {k:.2f} above {TRUSTED_K:g}"
    chains = figures.reshape(draws.chains, -1, figures.shape[1]).transpose(0, 1)
    rhat = float(weights.split_rhat(chains).max())
    return weights.chain_ess(chains), "" if rhat <= TRUSTED_RHAT else f"R̂ {rhat:.2f} above {TRUSTED_RHAT:g}"


def _timed(method: Sized, draws: int, target: Target, context: Context) -> tuple[float, Draws]:
    start = time.process_time()
    found = replace(method, draws=draws)(target, context)
    return time.process_time() - start, found
