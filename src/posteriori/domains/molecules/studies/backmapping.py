"""From beads to atoms: is what is filled in right, and does a coarse simulator gain by it?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.errors import OptionError
from posteriori.core.run import Context, references
from posteriori.domains.molecules import backmapping_pictures as draw
from posteriori.domains.molecules.alanine import shipped
from posteriori.domains.molecules.backmapping import Segment, segments, trained
from posteriori.domains.molecules.backmapping_alanine import shipped_mapper
from posteriori.domains.molecules.backmapping_checks import (
    Alanine,
    Chain,
    Hybrid,
    alanine,
    alanine_mapper,
    chain,
    hybrid,
)
from posteriori.domains.molecules.backmapping_loop import Loop
from posteriori.domains.molecules.trajectories import write_trajectory
from posteriori.domains.study import Outcome
from posteriori.learn.conditional_vae import ConditionalVAE

FALSE_ALARM = 1e-3


@dataclass(frozen=True)
class Study:
    """Fine configurations of a Gaussian chain, a stiffening chain in a hybrid loop, and alanine dipeptide, given beads.

    Every filled-in configuration carries its weight, so that what is learnt badly costs draws and biases nothing.
    """

    monomers: int = 12
    """Of the Gaussian chain."""
    block: int = 3
    """Monomers of each of its beads."""
    rows: int = 20_000
    """Chains that the generator of the Gaussian chain is trained on."""
    steps: int = 1000
    """Of the coarse simulator in the hybrid loop."""
    draws: int = 64
    """Fine configurations that each answer in the loop is made of."""
    pull: float = 5.0
    """Force on the end of the chain in the loop [kT per length]."""
    states: int = 100
    """Coarse states of alanine dipeptide that are filled in."""
    temperature: float = 300.0
    """Of alanine dipeptide [K]; the shipped generator was made at 300 K."""
    retrain: bool = False
    """Simulate alanine dipeptide and train its generator anew (a CPU minute) instead of taking the shipped one."""
    quick: bool = False
    """Fewer rows, steps and states."""

    def __call__(self, context: Context) -> Outcome:
        """Train, fill in, compare."""
        self._check()
        began = time.process_time()
        few = 5 if self.quick else 1
        filled = chain(self.monomers, self.block, self.rows // few, context.child("chain"))
        loop = self._loop(context.child("loop"), few)
        here = context.child("alanine")
        net = alanine_mapper(self.temperature, 2000 // few, 20, here) if self.retrain else shipped_mapper()
        with torch.no_grad():
            molecule = alanine(net, self.temperature, max(10, self.states // few), 400, here.rng.child("draws"))
        figures = (*_chain(filled), *_loop(loop), *_alanine(molecule))
        report = Report("Back-mapping: exact beads, right weights, fewer fine-scale calls", figures)
        scores = {figure.name: figure.value for figure in report}
        return Outcome(
            scores={**scores, "cpu_seconds": time.process_time() - began},
            report=report,
            pictures={
                "Gaussian chain: how far monomers stray given the beads": partial(draw.chain_picture, filled),
                "The hybrid loop, and what each answer costs": partial(draw.loop_picture, loop, Loop.step),
                "Alanine dipeptide: how much of what is drawn counts": partial(draw.alanine_picture, molecule),
            },
            tables={"closure": _table(loop)},
            files={"filled_in.pdb": partial(_write, _resampled(molecule, context))},
            references=references(ConditionalVAE.example(), net),
        )

    def _loop(self, context: Context, few: int) -> Hybrid:
        segment = Segment()
        rows = segments(segment, 100, 24, context.rng.child("rows"))
        net = trained(rows, 32, 150 // few, context.child("net"))
        loop = Loop(pull=self.pull, steps=self.steps // few)
        return hybrid(segment, net, rows.calls, loop, self.draws, context.rng.child("hybrid"))

    def _check(self) -> None:
        whole = self.block >= 2 and self.monomers % self.block == 0 and self.monomers > self.block
        if not 4 <= self.monomers <= 100 or not whole:
            raise OptionError(
                f"monomers={self.monomers}, block={self.block}: 4 to 100 monomers in two or more whole blocks of two "
                "or more, so that every bead has atoms and every atom a bead."
            )
        if not 2000 <= self.rows <= 1_000_000 or not 50 <= self.steps <= 100_000 or not 2 <= self.draws <= 4096:
            raise OptionError(
                f"rows={self.rows} (2,000 to a million), steps={self.steps} (50 to 100,000), draws={self.draws} (2 to "
                "4,096) lie outside what is offered."
            )
        if not 0 < self.pull <= 10 or not 10 <= self.states <= 400 or not 100 <= self.temperature <= 1000:
            raise OptionError(
                f"pull={self.pull:g} (above 0, to 10), states={self.states} (10 to 400), temperature="
                f"{self.temperature:g} K (100 to 1,000) lie outside what is offered."
            )


def _chain(found: Chain) -> list[Figure]:
    chance = Gate(low=FALSE_ALARM)
    return [
        Figure("chain.kl", found.divergence, unit="nat", gate=Gate(high=0.01), note="fine given coarse, closed form"),
        Figure("chain.kl_joint", found.bound, found.bound_error, "nat", note="with the latent numbers, by draws"),
        Figure("chain.coarse_error", found.coarse_error, gate=Gate(high=1e-10), note="largest difference of a bead"),
        Figure("chain.ess_reverse", found.share, note="share of the draws"),
        Figure("chain.critic_p", found.good.p_value, gate=chance, note=f"tells {found.good.accuracy:.1%} rightly"),
        Figure("chain.critic_planted", found.planted.accuracy, gate=Gate(low=0.55), note="a law 15 % too wide is told"),
    ]


def _loop(found: Hybrid) -> list[Figure]:
    answers = found.trajectory.slopes.shape[0] * found.trajectory.slopes.shape[1]
    ratio = found.direct_calls / found.mapped_calls
    even = found.training / max(found.direct_calls - found.mapped_calls, 1e-9)
    return [
        Figure("loop.closure_error", found.error, gate=Gate(high=0.02), note="root mean square, as a share"),
        Figure("loop.calls_ratio", ratio, gate=Gate(low=10), note="direct / back-mapped, both at an error of 2 %"),
        Figure("loop.direct_calls", found.direct_calls, note="for one answer, by simulation"),
        Figure("loop.mapped_calls", found.mapped_calls, note="for one answer, back-mapped"),
        Figure("loop.break_even", even, note=f"answers that pay for {found.training} training calls; here {answers}"),
        Figure("loop.ess_reverse", found.share, note="share of the draws"),
        Figure("loop.extension_error", _away(found), note="root mean square, as a share of the extension"),
    ]


def _away(found: Hybrid) -> float:
    gap = found.trajectory.extension() - found.reference.extension()
    return float((gap**2).mean() ** 0.5 / found.reference.extension().mean())


def _alanine(found: Alanine) -> list[Figure]:
    return [
        Figure("alanine.ess_reverse", float(found.shares.median()), gate=Gate(low=0.1), note="median over states"),
        Figure("alanine.ess_lowest_decile", float(found.shares.quantile(0.1)), note="a tenth of the states has less"),
        Figure("alanine.ess_surface", float(found.over.median()), note="median over states all over the surface"),
        Figure("alanine.bond_violations", found.violations, gate=Gate(high=0), note="bonds off by more than 1e-10 nm"),
        Figure("alanine.bond_error", found.bond_error, unit="nm", gate=Gate(high=1e-10), note="largest"),
        Figure("alanine.coarse_error", found.coarse_error, unit="rad", gate=Gate(high=1e-10), note="of φ and ψ"),
        Figure("alanine.mirrored", found.mirrored, gate=Gate(high=0), note="frames of the wrong handedness"),
    ]


def _table(found: Hybrid) -> pd.DataFrame:
    ways = (("back-mapped", found.mapped), ("direct simulation", found.direct))
    rows = [(way, calls, error) for way, errors in ways for calls, error in errors.items()]
    return pd.DataFrame(rows, columns=["way", "calls for each answer", "error"])


def _resampled(found: Alanine, context: Context) -> Tensor:
    """Twenty frames of the first state, drawn by their weights, (20, 22, 3) [nm]."""
    chances = torch.softmax(found.log_weights, 0)
    return found.frames[torch.multinomial(chances, 20, True, generator=context.rng.child("frames").generator)]


def _write(frames: Tensor, path: Path) -> None:
    write_trajectory(path, shipped(), frames)
