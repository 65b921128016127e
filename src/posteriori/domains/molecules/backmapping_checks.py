"""Back-mapping held against what is known: a closed form, a critic, exact tensions, rigid bonds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from posteriori.core import weights
from posteriori.core.optional import require
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.molecules.alanine import GAS_CONSTANT, PHI, PSI, ZMATRIX, handedness, shipped
from posteriori.domains.molecules.alanine_coordinates import SURFACE_COLUMNS, folded, sheared, wrapped
from posteriori.domains.molecules.alanine_sampling import Sampling, sampled, torsions
from posteriori.domains.molecules.backmapping import Rows, Segment, trained
from posteriori.domains.molecules.backmapping_alanine import PLACES, AlanineMapper, RigidAlanine, trained_mapper
from posteriori.domains.molecules.backmapping_critic import Verdict, criticised
from posteriori.domains.molecules.backmapping_loop import (
    Held,
    Loop,
    Trajectory,
    calls_for,
    exact,
    mapped,
)
from posteriori.inference.back_mapping import back_map
from posteriori.learn.conditional_vae import ConditionalVAE
from posteriori.physics.beads import Beads
from posteriori.physics.gaussian_chain import GivenBeads, SpringChain
from posteriori.physics.internal_coordinates import InternalCoordinates
from posteriori.physics.molecular_mechanics import ForceField

PLANTED = 1.15
"""How much too wide the planted failure is that the critic must find."""
EPOCHS = 20
"""Of the critic."""
VIOLATION = 1e-10
"""Difference [nm] of a bond from its length that counts."""
GOAL = 0.02
"""Largest error of a closure."""
BUDGETS = (8, 16, 32, 64, 128, 256)
"""Draws for each closure that are tried."""
TUNINGS = tuple(Held(leapfrogs, step) for leapfrogs in (1, 2, 3, 5) for step in (0.08, 0.12, 0.16))
"""Direct simulation takes the best of these."""


@dataclass(frozen=True)
class Chain:
    """A Gaussian chain filled in between its beads.

    Attributes:
        divergence: KL [nat] of the exact law of the fine given the coarse from the learnt one, mean over coarse states.
        bound: the same of the joint law with the latent numbers, by draws: never below, but for its error.
        bound_error: its standard error.
        coarse_error: largest difference of the beads of a filled-in chain from those given.
        share: effective sample size as a share of the draws, mean over coarse states.
        good, planted: what the critic says of the learnt law, and of one 15 % too wide.
        spread: standard deviations of the monomers about their mean: exact and learnt, (monomer,).
    """

    divergence: float
    bound: float
    bound_error: float
    coarse_error: float
    share: float
    good: Verdict
    planted: Verdict
    spread: tuple[Tensor, Tensor]


def chain(monomers: int, block: int, rows: int, context: Context) -> Chain:
    """Train on ``rows`` chains, compare with the closed form on others."""
    model = SpringChain(monomers)
    beads = Beads.blocks(model.domain, block)
    law = model.given(beads)
    train, test = (
        _free(model, beads, rows, context.rng.child("train")),
        _free(model, beads, 6000, context.rng.child("test")),
    )
    net = trained(train, 0, max(60, 1_200_000 // rows), context.child("net"))
    with torch.no_grad():
        slope, covariance = net.gaussian()
        divergence = law.divergence(slope, covariance, test.coarse)
        noise = context.rng.child("bound").normal((len(test.coarse), net.latents, 3))
        joint = law.log_prob(test.fine, test.coarse) - net.bound(test.fine, test.coarse, noise)
        some = test.coarse[:50]
        found = back_map(net, lambda u, v: -law.log_prob(u, v), some, 400, context.rng.child("weights"))
        filled = beads.assemble(some, found.fine)
        made = net.push(context.rng.child("made").normal((len(test.coarse), *net.numbers(test.coarse))), test.coarse)[0]
    return Chain(
        float(divergence.mean()),
        float(joint.mean()),
        float(joint.std() / len(joint) ** 0.5),
        float((beads(filled) - some).abs().max()),
        float(found.share().mean()),
        *_verdicts(beads, law, test, made, context.child("critic")),
        (_spread(beads, law.covariance), _spread(beads, covariance)),
    )


@dataclass(frozen=True)
class Hybrid:
    """A coarse simulator driven by back-mapped tensions, against exact ones and direct simulation.

    Attributes:
        trajectory, reference: of the loop, and of the same loop with exact tensions and the same bath.
        error: root mean square error of the loop's answers as a share of the root mean square answer.
        mapped, direct: calls for each answer → error, for several budgets.
        mapped_calls, direct_calls: calls for each answer at an error of 2 %, on straight lines through these.
        training: fine-scale calls that made the training set.
        share: effective sample size as a share of the draws, mean over states.
    """

    trajectory: Trajectory
    reference: Trajectory
    error: float
    mapped: dict[float, float]
    direct: dict[float, float]
    mapped_calls: float
    direct_calls: float
    training: int
    share: float


def hybrid(segment: Segment, net: ConditionalVAE, training: int, loop: Loop, draws: int, rng: Rng) -> Hybrid:
    """Run the loop, then both ways to answer over states that it visits."""
    reference = loop.run(exact(segment), rng.child("loop"))
    trajectory = loop.run(mapped(segment, net, draws), rng.child("loop"))
    ends = reference.ends.reshape(-1, 3)[:: max(1, reference.ends.shape[0] * loop.segments // 400)]
    wanted = exact(segment)(ends, rng)[0]
    by_mapping = {float(n): _error(mapped(segment, net, n)(ends, rng.child("n", n))[0], wanted) for n in BUDGETS}
    best = _best(segment, ends, wanted, rng.child("pilot"))
    running = best.tension(segment, ends, 600, rng.child("direct"))[0]
    direct = {float(k * best.leapfrogs): _error(running[k - 1], wanted) for k in (40, 80, 160, 320, 600)}
    few, many = (calls_for(GOAL, np.array(list(d)), np.array(list(d.values()))) for d in (by_mapping, direct))
    share = back_map(net, segment.energy, ends[:, None], 200, rng.child("share")).share().mean()
    error = trajectory.error(segment)
    return Hybrid(trajectory, reference, error, by_mapping, direct, few, many, training, float(share.detach()))


@dataclass(frozen=True)
class Alanine:
    """Alanine dipeptide filled in around φ and ψ.

    Attributes:
        shares: effective sample size as a share of the draws, of coarse states in equilibrium (state,).
        surface: φ, ψ [rad] all over the surface, (place, 2).
        over: the share at each of these, (place,).
        bond_error: largest difference of a bond from its length [nm].
        violations: bonds that differ by more than 1e-10 nm.
        coarse_error: largest difference of φ or ψ from those given [rad].
        mirrored: filled-in frames of the wrong handedness.
        frames: positions filled in for one state, (draw, 22, 3) [nm].
        log_weights: their log-weights.
    """

    shares: Tensor
    surface: Tensor
    over: Tensor
    bond_error: float
    violations: int
    coarse_error: float
    mirrored: int
    frames: Tensor
    log_weights: Tensor


def alanine_mapper(kelvin: float, rows: int, epochs: int, context: Context) -> AlanineMapper:
    """Simulate flexible alanine dipeptide on all of its surface, learn what is fine given φ and ψ."""
    mm = require("openmm", "molecules")
    molecule = shipped()
    system = mm.XmlSerializer.deserialize(molecule.system)
    masses = np.array([system.getParticleMass(k)._value for k in range(molecule.atoms)])
    sampling = Sampling(temperature=kelvin, hills=2500, rows=rows, settle=100)
    frames = sampled(ForceField.of(system), molecule.frame, masses, sampling, context.rng.child("frames"))
    m = InternalCoordinates(ZMATRIX).coordinates(frames.positions.flatten(0, 2).double())
    net = trained_mapper(folded(sheared(m)), epochs, context.child("fit"))
    net.lengths = rigid(kelvin).lengths()
    order = context.rng.child("places")
    net.visited, net.reached = (
        rows_[order.permutation(len(rows_))[:PLACES]].float()
        for rows_ in (frames.angles[:, :, 0].flatten(0, 1), frames.angles.flatten(0, 2))
    )
    return net


def rigid(kelvin: float) -> RigidAlanine:
    """The shipped molecule in vacuum with rigid bonds."""
    system = require("openmm", "molecules").XmlSerializer.deserialize(shipped().system)
    return RigidAlanine(ForceField.of(system), 1 / (GAS_CONSTANT * kelvin))


def alanine(net: AlanineMapper, kelvin: float, states: int, draws: int, rng: Rng) -> Alanine:
    """Fill in ``draws`` frames around ``states`` pairs φ, ψ of the molecule in equilibrium, and as many anywhere."""
    fine = rigid(kelvin)
    surface = torch.cat([net.visited[:states], net.reached[:states]]).double()
    m, log_q = net.draw(surface.repeat(draws, 1), rng)
    energy, x = fine.energy(m)
    log_w = (-energy - log_q).reshape(draws, len(surface))
    i, j = (torch.tensor([row[k] for row in ZMATRIX.rows[1:]]) for k in (0, 1))
    off = ((x[:, i] - x[:, j]).norm(dim=-1) - fine.lengths()).abs()
    found = torch.stack([torsions(x, PHI), torsions(x, PSI)], -1)
    shares = weights.ess(log_w) / draws
    return Alanine(
        shares[:states],
        surface[states:],
        shares[states:],
        float(off.max()),
        int((off > VIOLATION).sum()),
        float(wrapped(found - m[:, SURFACE_COLUMNS]).abs().max()),
        int((handedness(x) <= 0).sum()),
        x[:: len(surface)],
        log_w[:, 0],
    )


def _free(model: SpringChain, beads: Beads, rows: int, rng: Rng) -> Rows:
    """Centred Gaussian chains, drawn bond by bond: fine vectors and beads."""
    bonds = rng.normal((rows, model.domain.shape[0] - 1, 3)) / model.stiffness**0.5
    x = torch.cat([torch.zeros_like(bonds[:, :1]), bonds.cumsum(1)], 1)
    x = x - x.mean(1, keepdim=True)
    return Rows(beads.inner(x), beads(x), 0)


def _verdicts(beads: Beads, law: GivenBeads, test: Rows, made: Tensor, context: Context) -> tuple[Verdict, Verdict]:
    mean = law.slope @ test.coarse
    other = law.sample(test.coarse, context.rng.child("planted"))
    true = beads.assemble(test.coarse, test.fine)
    good = criticised(true, beads.assemble(test.coarse, made), EPOCHS, context.child("good"))
    wide = beads.assemble(test.coarse, mean + PLANTED * (other - mean))
    return good, criticised(true, wide, EPOCHS, context.child("wide"))


def _spread(beads: Beads, covariance: Tensor) -> Tensor:
    return (beads.basis @ covariance @ beads.basis.mT).diagonal().sqrt()


def _best(segment: Segment, ends: Tensor, wanted: Tensor, rng: Rng) -> Held:
    """The tuning with the smallest error for its gradients."""

    def cost(held: Held) -> float:
        found = held.tension(segment, ends, 120, rng)[0][-1]
        return held.leapfrogs * _error(found, wanted) ** 2

    return min(TUNINGS, key=cost)


def _error(found: Tensor, wanted: Tensor) -> float:
    return float(((found - wanted).square().sum() / wanted.square().sum()).sqrt())
