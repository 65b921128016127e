"""The Boltzmann generator: independent draws of a learnt density, each with its exact weight."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from math import isclose
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.draws import RAW_WEIGHT, Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.random import Rng
from posteriori.core.run import Context, Progress, Run, describe, digest, references, silent, versions
from posteriori.core.support import Real
from posteriori.core.target import Boltzmann, Inverse, Target
from posteriori.core.threads import THREADS, fixed_threads
from posteriori.core.weights import pareto_smooth
from posteriori.inference.boltzmann_training import Training, trained
from posteriori.inference.defensive import Defensive
from posteriori.inference.hmc import HMC
from posteriori.inference.quasi_random import evidence_over_groups
from posteriori.physics.gaussian_mixture import GaussianMixture

LEVELS = 9
"""Temperatures among which a steered flow learns from its own corrected draws."""


@dataclass(frozen=True)
class BoltzmannGenerator:
    """A flow learns exp(-energy), is given a safety net, and every draw of the two is weighed exactly.

    Short runs of HMC show the flow where the target lives; their populations need not be right. Weights are exact
    whatever was learnt: averages are unbiased as draws grow, a poor flow only makes them noisier. What no run and no
    draw has met stays unseen: hold the rows against independent ones (``audit.weighted_draws``).

    Rows come in ``groups`` independent scramblings of quasi-random base points, group after group;
    ``inference.quasi_random.over_groups`` gives any average its error. ``stats`` hold raw log-weights, log-densities
    and k̂.

    Args:
        draws: rows, a multiple of ``groups``.
        groups: independent scramblings, two or more.
        training: what is learnt, for how long.
        runs: the short runs.
        defensive: share of the safety net.
        range: smallest and largest factor on the energy that one flow shall answer (temperature steering): a fitted
            generator then answers the same potential between beta·range[0] and beta·range[1].
        proposal: what was learnt, see :meth:`fit`; without, every call learns anew.
        beta: of the target it was fitted to.
        run: of its training.

    Reference: Noé, Olsson, Köhler & Wu (2019), Boltzmann generators, Science 365, eaaw1147; Dibak, Klein, Krämer & Noé
    (2022), Temperature steerable flows and Boltzmann generators, Phys. Rev. Research 4, L042005.
    """

    draws: int = 16_384
    groups: int = 8
    training: Training = Training()  # noqa: RUF009
    runs: HMC = HMC(draws=100, warmup=100, chains=40)  # noqa: RUF009
    defensive: float = 0.02
    range: tuple[float, float] = (1.0, 1.0)
    proposal: Defensive | None = None
    beta: float | None = None
    run: Run | None = None

    references: ClassVar[tuple[str, ...]] = (
        "Noé, Olsson, Köhler & Wu (2019), Boltzmann generators, Science 365, eaaw1147.",
        "Dibak, Klein, Krämer & Noé (2022), Temperature steerable flows and Boltzmann generators, "
        "Phys. Rev. Research 4, L042005.",
    )

    def __post_init__(self) -> None:
        if self.groups < 2 or self.draws < 10 * self.groups or self.draws % self.groups:
            raise OptionError(
                f"draws={self.draws} must be {self.groups} equal groups of ten or more, two groups or more."
            )
        if not 0 < self.defensive < 1 or not 0 < self.range[0] <= self.range[1]:
            raise OptionError(f"defensive={self.defensive} lies in (0, 1), range={self.range} is rising and positive.")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Weighted rows and log Z.

        Raises:
            UnanswerableError: an energy without derivative, a Space with borders or several problems; a temperature
                outside the range that the flow has learnt.
        """
        proposal, factor = self.proposal, 1.0
        if proposal is None:
            proposal = self._learnt(target, context)
        elif self.beta is not None:
            factor = self._factor(target, proposal)
        steered = bool(proposal.flow.condition)
        condition = torch.tensor([factor], dtype=torch.float64).log() if steered else None
        rng = context.rng.child("rows")
        each = self.draws // self.groups
        parts = [proposal.draw(each, rng.child(i), condition, quasi=True) for i in range(self.groups)]
        x, log_q = torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])
        with torch.no_grad():
            energy = target.energy(x)
        if bool(energy.isnan().any()):
            where = int(energy.isnan().nonzero()[0])
            raise UnanswerableError(f"the energy of row {where} is NaN: mend the potential; an impossible row is +inf.")
        raw = -energy - log_q
        evidence, error = evidence_over_groups(raw, self.groups)
        k = pareto_smooth(raw)[1]
        stats = {RAW_WEIGHT: raw, "log_q": log_q, "pareto_k": k.expand_as(raw).clone()}
        posterior = Draws(target.space, x, raw, log_evidence=evidence, stats=stats)
        posterior.log_evidence_error = error
        return posterior

    def fit(
        self, target: Target, seed: int = 0, rows: Tensor | None = None, progress: Progress = silent
    ) -> BoltzmannGenerator:
        """A copy that has learnt ``target`` and keeps the Run of its training.

        Args:
            seed: of the runs, the first weights and the training.
            rows: (n, *space.shape) to learn from first instead of short runs.
        """
        wall, cpu = time.perf_counter(), time.process_time()
        context = Context(Rng(seed), progress=progress)
        with fixed_threads():
            proposal = self._learnt(target, context, rows)
        run = Run(
            method=describe(replace(self, proposal=None, beta=None, run=None)),
            seed=seed,
            device=context.device,
            threads=THREADS,
            versions=versions(),
            hashes={name: digest(tensor) for name, tensor in proposal.state_dict().items()},
            wall_seconds=time.perf_counter() - wall,
            cpu_seconds=time.process_time() - cpu,
            references=references(self, proposal),
        )
        beta = target.beta if isinstance(target, Boltzmann) else None
        return replace(self, proposal=proposal, beta=beta, run=run)

    def _learnt(self, target: Target, context: Context, rows: Tensor | None = None) -> Defensive:
        if isinstance(target, Inverse) and target.batch:
            raise UnanswerableError("BoltzmannGenerator learns one problem at a time; give them one by one, or HMC.")
        if not isinstance(target.space.support, Real) or target.space.parts:
            raise UnanswerableError(
                f"BoltzmannGenerator draws real numbers without borders, not {target.space}: use HMC."
            )
        if rows is None:
            rows = self.runs(target, context.child("runs")).values
        low, high = self.range
        steps = LEVELS if high > low else 1
        factors = tuple(low * (high / low) ** (i / max(steps - 1, 1)) for i in range(steps))
        return trained(target, rows, factors, self.defensive, self.training, context.child("training"))

    def _factor(self, target: Target, proposal: Defensive) -> float:
        """The target's inverse temperature over that of the fit."""
        if not isinstance(target, Boltzmann) or not target.space.same(proposal.space):
            raise UnanswerableError(
                f"this generator was fitted to a Boltzmann target of {proposal.space}; fit another."
            )
        assert self.beta is not None
        factor = target.beta / self.beta
        low, high = self.range
        if not (low <= factor <= high or isclose(factor, low) or isclose(factor, high)):
            raise UnanswerableError(
                f"beta={target.beta:g} is {factor:.3g} times that of the fit, outside the range {self.range} it has "
                "learnt; fit with a wider range."
            )
        return factor

    @staticmethod
    def example() -> tuple[BoltzmannGenerator, Boltzmann]:
        """Two modes in the plane, from a flow that has hardly learnt: the weights set it right."""
        training = Training(steps=3, batch=64, transforms=1, hidden=(8,), bins=4)
        target = Boltzmann(GaussianMixture(torch.tensor([[0.0, 0.0], [1.5, 1.0]]), 1.0, torch.tensor([1.0, 2.0])), 1.0)
        return BoltzmannGenerator(4000, 4, training, HMC(draws=20, warmup=20, chains=8, steps=3), 0.2), target
