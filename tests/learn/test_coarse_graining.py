"""Coarse spins: geometry, what they tell of their surroundings, and bottlenecks with a closed form."""

from __future__ import annotations

from math import log

import pytest
import torch

from posteriori import Rng
from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.run import Context
from posteriori.learn.coarse_graining import BlockRule, blocks, patches, surroundings
from posteriori.learn.information_bottleneck import BlockAverages, FourierModes, InformationBottleneck
from posteriori.learn.information_bottleneck_gaussian import gaussian_bottleneck
from posteriori.learn.mutual_information import (
    InformationMaximisation,
    best_coarse,
    coarse_information,
    joint_table,
    mutual_information,
)
from posteriori.physics.ising_exact import CRITICAL, enumerated, states

INSIDE = torch.tensor([0, 1, 4, 5])
OUTSIDE = torch.tensor([2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])


def torus_rows(n: int, rng: Rng) -> torch.Tensor:
    """Exact draws (n, 4, 4) of the critical 4 × 4 torus, from the list of its states."""
    spins, p, _ = enumerated((4, 4), CRITICAL)
    return spins[torch.multinomial(p, n, replacement=True, generator=rng.generator)].reshape(n, 4, 4).float()


def test_blocks_hold_the_sites_of_their_place() -> None:
    lattice = torch.arange(24.0).reshape(4, 6)
    cut = blocks(lattice, (2, 3))
    assert cut.shape == (2, 2, 6)
    assert cut[1, 0].tolist() == [12, 13, 14, 18, 19, 20]
    assert torch.equal(BlockRule(torch.ones(2, 3))(lattice), cut.sum(-1))
    with pytest.raises(ShapeError, match="do not fit 4 × 6"):
        blocks(lattice, (3, 3))


def test_surroundings_and_patches_wrap_around() -> None:
    around = surroundings((2, 2), 1, 1)
    assert len(around) == 6 * 6 - 4 * 4
    assert surroundings((1, 2), 1, 1) == [(0, -2), (0, 3)]
    lattice = torch.arange(64.0).reshape(1, 8, 8)
    block, seen = patches(lattice, (2, 2), around, 50, Rng(0))
    first = block[:, 0].long()
    rows, columns = torch.tensor(around).unbind(1)
    wanted = (first[:, None] // 8 + rows) % 8 * 8 + (first[:, None] % 8 + columns) % 8
    assert torch.equal(seen.long(), wanted)
    with pytest.raises(ShapeError, match="span 6 × 6"):
        patches(lattice[:, :5, :5], (2, 2), around, 5, Rng(0))


def test_a_majority_is_never_undecided_and_odd() -> None:
    every = states(4).float().reshape(16, 2, 2)
    coarse = BlockRule.majority((2, 2)).coarse(every)[:, 0, 0]
    assert torch.equal(coarse, -coarse.flip(0))
    total = every.sum((1, 2))
    assert torch.equal(coarse[total != 0], total[total != 0].sign())


def test_information_of_tables() -> None:
    """A pair of coins, independent and equal; and joining kinds of surroundings loses nothing."""
    assert mutual_information(torch.full((2, 2), 0.25)) == pytest.approx(0, abs=1e-15)
    assert mutual_information(torch.eye(2) / 2) == pytest.approx(log(2))
    spins, p, _ = enumerated((4, 4), CRITICAL)
    codes = ((spins + 1) / 2).long()
    v = codes[:, INSIDE] @ 2 ** torch.arange(4)
    e = codes[:, OUTSIDE] @ 2 ** torch.arange(12)
    whole = torch.zeros(16 * 4096).double().index_add_(0, v * 4096 + e, p).reshape(16, 4096)
    joint = joint_table(spins, p, INSIDE, OUTSIDE)
    assert joint.shape[1] < 200
    assert mutual_information(joint) == pytest.approx(mutual_information(whole), abs=1e-9)


def test_the_best_coarse_spin_beats_every_other() -> None:
    spins, p, _ = enumerated((4, 4), CRITICAL)
    joint = joint_table(spins, p, INSIDE, OUTSIDE)
    up, best = best_coarse(joint)
    assert best == pytest.approx(float(coarse_information(up, joint)))
    assert best < mutual_information(joint)
    some = (Rng(1).uniform((200, 16)) < 0.5).double()
    assert float(coarse_information(some, joint).max()) <= best + 1e-12
    with pytest.raises(OptionError, match="at most 16 states"):
        best_coarse(torch.ones(32, 2) / 64)


@pytest.mark.slow
def test_the_learnt_coarse_spin_tells_95_percent_of_what_can_be_told() -> None:
    """Against all functions of the block; the bound lies below the exact information, to its error of 0.01 nat."""
    spins, p, _ = enumerated((4, 4), CRITICAL)
    joint = joint_table(spins, p, INSIDE, OUTSIDE)
    _, best = best_coarse(joint)
    rng = Rng(7)
    block, seen = patches(torus_rows(20_000, rng), (2, 2), surroundings((2, 2), 0, 1), 20_000, rng.child("patches"))
    found = InformationMaximisation()(BlockRule.random((2, 2), rng.child("start")), block, seen, Context(rng))
    told = float(coarse_information((found.rule.field(states(4).float()) > 0).double(), joint))
    assert told >= 0.95 * best
    assert found.bound < told + 0.03
    assert found.bound > 0.8 * told


@pytest.mark.slow
@pytest.mark.parametrize("beta", [3.0, 10.0])
def test_a_bottleneck_of_gaussians_reaches_the_closed_form(beta: float) -> None:
    """What is minimised within 0.02 nat, three standard errors of the held-out rows; its flat direction within 8 %."""
    rng = Rng(5)
    root = rng.normal((6, 6))
    covariance = root @ root.mT + 0.3 * torch.eye(6)
    exact = gaussian_bottleneck(covariance, 4, beta)
    rows = (rng.normal((40_000, 6)) @ torch.linalg.cholesky(covariance).mT).float()
    found = InformationBottleneck(beta, 2)(rows[:, :4], rows[:, 4:], Context(rng.child("fit")))
    assert found.cost / beta - found.information == pytest.approx(exact.cost / beta - exact.information, abs=0.02)
    assert found.cost == pytest.approx(exact.cost, rel=0.08)


def test_the_gaussian_bottleneck_is_the_best_filter() -> None:
    """Its filter gives the stated information, and no scaling of it does better; a low price keeps nothing."""
    rng = Rng(5)
    root = rng.normal((5, 5))
    s = root @ root.mT + 0.3 * torch.eye(5)
    beta = 6.0
    found = gaussian_bottleneck(s, 3, beta)

    def value(a: torch.Tensor) -> tuple[float, float]:
        x, xy, y = s[:3, :3], s[:3, 3:], s[3:, 3:]
        eye = torch.eye(len(a), dtype=torch.float64)
        given = a @ (x - xy @ torch.linalg.solve(y, xy.mT)) @ a.mT + eye
        whole = torch.logdet(a @ x @ a.mT + eye)
        return 0.5 * float(whole), 0.5 * float(whole - torch.logdet(given))

    cost, told = value(found.filter)
    assert cost == pytest.approx(found.cost, abs=1e-10)
    assert told == pytest.approx(found.information, abs=1e-10)
    for _ in range(20):
        other = found.filter * (1 + 0.2 * rng.normal((len(found.filter), 1))) + 0.1 * rng.normal(found.filter.shape)
        c, i = value(other)
        assert c - beta * i >= cost - beta * told - 1e-12
    assert gaussian_bottleneck(s, 3, 1.0001).cost == 0
    with pytest.raises(OptionError, match="pays for nothing"):
        gaussian_bottleneck(s, 3, 1.0)


def test_questions_are_the_averages_and_waves_they_say() -> None:
    around = surroundings((2, 2), 0, 1)
    ones = torch.ones(1, len(around))
    assert torch.allclose(BlockAverages((2, 2))(ones, around), torch.ones(1, 8))
    above = torch.tensor([[1.0 if r < 0 and 0 <= c < 2 else 0.0 for r, c in around]])
    assert BlockAverages((2, 2))(above, around)[0].tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    assert float(FourierModes(4)(ones, around)[0, 0]) == pytest.approx(1)
