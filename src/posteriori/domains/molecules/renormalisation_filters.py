"""Block rules learnt from configurations, and what they keep, beside the block spin and the enumerated optimum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.run import Context
from posteriori.learn.coarse_graining import Block, BlockRule, patches, surroundings
from posteriori.learn.information_bottleneck import BlockAverages, FourierModes, InformationBottleneck, Question
from posteriori.learn.mutual_information import (
    InformationMaximisation,
    best_coarse,
    coarse_information,
    joint_table,
)
from posteriori.physics.ising_exact import enumerated, states

ROWS = 40_000
BUFFER, REACH = 2, 1
"""Sites between a block and the ring of surroundings it shall tell of, and the width of that ring."""
SMALL = (4, 4)
"""The lattice whose every state is summed."""
MUTUAL, BOTTLENECK = "information", "bottleneck"


@dataclass(frozen=True)
class Filter:
    """A learnt block rule.

    Attributes:
        rule: the filter.
        information: about the surroundings [nat]: a lower bound on I(H; E), or what the code tells of Y.
        correlation: of its values with block averages, over blocks.
        agreement: share of the blocks with a majority whose coarse spin follows it.
    """

    rule: BlockRule
    information: float
    correlation: float
    agreement: float


def learn_filters(spins: Tensor, shape: Block, question: Question, beta: float, context: Context) -> dict[str, Filter]:
    """Both filters from configurations ±1 (n, L, L): the one that tells most, and the bottleneck's."""
    around = surroundings(shape, BUFFER, REACH)
    block, seen = patches(spins, shape, around, ROWS, context.rng.child("patches"))
    turned = torch.where(context.rng.child("turned").uniform((ROWS, 1)) < 0.5, -1.0, 1.0).to(block)
    block, seen = turned * block, turned * seen  # up and down are alike, also where few configurations are not
    most = InformationMaximisation()(
        BlockRule.random(shape, context.rng.child("filter")), block, seen, context.child(MUTUAL)
    )
    squeezed = InformationBottleneck(beta)(block, question(seen, around), context.child(BOTTLENECK))
    found = {MUTUAL: (most.rule, most.bound), BOTTLENECK: (squeezed.rule(shape), squeezed.information)}
    return {name: _judged(rule, information, block) for name, (rule, information) in found.items()}


def questions(shape: Block) -> dict[str, Question]:
    """What a bottleneck can be asked of the surroundings, by name."""
    return {"averages": BlockAverages(shape), "modes": FourierModes(max(shape) + 2 * (BUFFER + REACH))}


def shares_of_optimum(rules: Mapping[str, BlockRule], coupling: float) -> dict[str, float]:
    """I(H; E) of rules of 2 × 2 sites on the 4 × 4 torus, E all other sites, as shares of the best of all functions."""
    spins, p, _ = enumerated(SMALL, coupling)
    inside = torch.tensor([0, 1, 4, 5])
    outside = torch.tensor([i for i in range(16) if i not in inside.tolist()])
    joint = joint_table(spins, p, inside, outside)
    _, best = best_coarse(joint)
    every = states(4).float()
    with torch.no_grad():
        up = {name: (rule.field(every) > 0).double() for name, rule in rules.items()}
    return {name: float(coarse_information(each, joint)) / best for name, each in up.items()}


def _judged(rule: BlockRule, information: float, block: Tensor) -> Filter:
    with torch.no_grad():
        value, average = rule.field(block), block.mean(1)
    correlation = float(torch.corrcoef(torch.stack([value, average]))[0, 1])
    decided = average != 0
    agreement = float(((value > 0) == (average > 0))[decided].double().mean())
    return Filter(rule, information, correlation, agreement)
