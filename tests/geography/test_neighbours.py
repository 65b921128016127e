"""Layers beside a field: found by time, absent where there are none, never those that were learnt from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posteriori.domains.geography.neighbours import layers_beside, narrowed, stacked, whole_steps


def test_neighbours_are_found_by_time_and_not_by_position() -> None:
    of = torch.tensor([10, 12, 11, 20])
    found = layers_beside(torch.tensor([11, 20]), of, torch.tensor([], dtype=torch.long), 1)
    assert found.tolist() == [[0, 2, 1], [-1, 3, -1]]


def test_layers_that_were_learnt_from_are_no_neighbours() -> None:
    of = torch.arange(5)
    assert layers_beside(torch.tensor([2]), of, torch.tensor([1]), 2).tolist() == [[0, -1, 2, 3, 4]]


def test_absent_layers_are_gaps() -> None:
    layers = torch.arange(8.0).reshape(2, 2, 2)
    found = stacked(layers, torch.tensor([[-1, 0, 1]]))
    assert bool(torch.isnan(found[0, 0]).all())
    assert torch.equal(found[0, 1:], layers)
    assert torch.equal(narrowed(found, 0)[0, 0], layers[0])


@pytest.mark.parametrize(
    ("times", "step", "whole"),
    [
        ([0.0, 1.0, 3.0], 1.0, [0, 1, 3]),
        ([-2.0, 4.0], 2.0, [-1, 2]),
        ([0.0, 1.005], 1.0, [0, 1]),
        ([0.0, 1.4], 1.0, None),
        ([0.0, 0.0], 1.0, None),
        ([0.0, 1.0], 0.0, None),
    ],
)
def test_times_off_the_steps_or_twice_the_same_are_no_steps(
    times: list[float], step: float, whole: list[int] | None
) -> None:
    found = whole_steps(np.array(times), step)
    assert (None if found is None else found.tolist()) == whole
