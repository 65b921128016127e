"""Moran's I, join counts, change and landscape metrics: by enumeration, hand-worked tables and PyLandStats."""

from __future__ import annotations

import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori.audit.rasters.association import CORNERS, EDGES, join_counts, moran
from posteriori.audit.rasters.change import change, change_from_probabilities, confusion, disagreement
from posteriori.audit.rasters.landscape import contagion, landscape
from posteriori.audit.rasters.variograms import Lag
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.random import Rng

MASK = torch.tensor([[True, True, True], [True, False, True], [True, True, False]])


@pytest.mark.parametrize("neighbours", [EDGES, CORNERS])
def test_moments_are_those_of_every_placement(neighbours: tuple[Lag, ...]) -> None:
    """All 5040 placements of seven values on a map with holes."""
    orders = torch.tensor(list(permutations(range(7))))
    values = torch.tensor([0.3, -1.0, 2.5, 0.0, 4.0, -2.0, 1.0]).double()
    fields = torch.full((5040, 3, 3), float("nan")).double()
    fields[:, MASK] = values[orders]
    found = moran(fields, MASK, neighbours)
    assert found.value.mean().item() == pytest.approx(-1 / 6)
    assert found.value.std(correction=0).item() == pytest.approx(found.standard_deviation[0].item())
    for black in (2, 3, 5):
        event = torch.zeros(5040, 3, 3, dtype=torch.bool)
        event[:, MASK] = orders < black
        for counts in join_counts(event, MASK, neighbours):
            assert counts.value.mean().item() == pytest.approx(counts.expected[0].item())
            assert counts.value.std(correction=0).item() == pytest.approx(counts.standard_deviation[0].item())


def test_association_sees_clusters_and_not_noise() -> None:
    """False alarm of the z of noise below 1e-4."""
    noise = Rng(0).normal((20, 30, 40))
    smooth = noise + noise.roll(1, -1) + noise.roll(1, -2)
    assert moran(noise).z.abs().max() < 5
    assert (moran(smooth).z > 10).all()
    alike, unlike = join_counts(smooth > 1)
    assert (alike.z > 5).all()
    assert (unlike.p_value < 1e-4).all()
    with pytest.raises(DataError, match="constant"):
        moran(torch.ones(4, 4))
    for everywhere in (True, False):
        with pytest.raises(DataError, match="everywhere or nowhere"):
            _ = join_counts(torch.full((4, 4), everywhere))[0].z


def test_disagreement_of_tables_worked_by_hand() -> None:
    """Rows simulated, columns observed; two and three classes."""
    found = disagreement(torch.tensor([[30, 20], [10, 40]]))
    assert (found.quantity, found.allocation, found.exchange) == pytest.approx((0.1, 0.2, 0.2))
    cycle = disagreement(torch.tensor([[2, 1, 0], [0, 2, 1], [1, 0, 2]]))
    assert (cycle.quantity, cycle.exchange, cycle.shift) == pytest.approx((0.0, 0.0, 3 / 9))
    mixed = disagreement(torch.tensor([[5, 2, 1], [0, 4, 1], [0, 0, 7]]))
    assert mixed.total == pytest.approx(4 / 20)
    assert (mixed.quantity, mixed.allocation) == pytest.approx((3 / 20, 1 / 20))
    with pytest.raises(ShapeError, match="square"):
        disagreement(torch.ones(2, 3))


def test_figure_of_merit_by_hand_and_of_ensembles() -> None:
    initial = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1]])
    observed = torch.tensor([[1, 1, 2, 0], [0, 0, 1, 1]])
    simulated = torch.tensor([[1, 0, 1, 1], [0, 0, 1, 2]])
    found = change(initial, simulated, observed)
    assert [8 * part for part in (found.hits, found.wrong_hits, found.misses, found.false_alarms)] == [1, 1, 1, 2]
    assert found.figure_of_merit == pytest.approx(0.2)
    assert (found.producers_accuracy, found.users_accuracy) == pytest.approx((1 / 3, 1 / 4))
    perfect = change(initial, torch.stack([observed, initial]), observed)
    assert perfect.figure_of_merit == pytest.approx(0.5)
    sure = torch.nn.functional.one_hot(simulated, 3).movedim(-1, 0).double()
    assert change_from_probabilities(initial, sure, observed) == found
    half = (sure + torch.nn.functional.one_hot(observed, 3).movedim(-1, 0)) / 2
    drawn = change(initial, torch.stack([simulated, observed]), observed)
    assert change_from_probabilities(initial, half, observed).figure_of_merit == pytest.approx(drawn.figure_of_merit)
    seen = initial >= 0
    seen[0, 2] = False
    masked = change(initial, simulated, observed, seen)
    off = [torch.where(seen, part, -1) for part in (initial, observed)]
    assert change_from_probabilities(off[0], torch.where(seen, sure, math.nan), off[1], seen) == masked
    with pytest.raises(DataError, match="recode"):
        change_from_probabilities(initial, sure, off[1])
    with pytest.raises(DataError, match="sum to one"):
        change_from_probabilities(initial, sure / 2, observed)
    with pytest.raises(ShapeError, match="differ"):
        change_from_probabilities(initial, sure[0], observed)
    with pytest.raises(DataError, match="no cell changes"):
        change_from_probabilities(simulated, sure, simulated)
    table = confusion(simulated, observed, 3, observed >= 0)
    assert torch.allclose(8 * table.diagonal(), torch.tensor([2.0, 2.0, 0.0]).double())
    with pytest.raises(DataError, match="no cell changes"):
        change(initial, initial, initial)
    with pytest.raises(DataError, match="recode"):
        confusion(simulated, observed, 2)


def test_landscape_by_hand() -> None:
    """Twelve cells of 100 m: two patches of class 1 that touch nowhere, one of class 2, an undefined cell."""
    classes = torch.tensor([[1, 1, 2, 2], [2, 2, 2, 1], [9, 2, 1, 2]])
    mask = classes != 9
    found = landscape(classes, (100.0, 100.0), mask)
    assert (found.patches, found.proportion) == (3, 100)
    assert found.patch_density == pytest.approx(100 * 3 / 11)
    assert found.largest_patch == pytest.approx(100 * 7 / 11)
    assert found.edge_density == pytest.approx(100 * 9 / 11)
    one = landscape(classes, (100.0, 100.0), mask, only=1)
    assert (one.patches, one.proportion, one.edge_density) == pytest.approx((2, 400 / 11, 900 / 11))
    board = (torch.arange(40)[:, None] + torch.arange(40)) % 2
    share, rows = [4 / 11, 7 / 11], [[2, 9], [9, 10]]  # ordered pairs of classes that share an edge, counted by hand
    q = [p * g / sum(row) for p, row in zip(share, rows, strict=True) for g in row]
    assert contagion(classes, mask) == pytest.approx(100 * (1 + sum(x * math.log(x) for x in q) / (2 * math.log(2))))
    assert contagion(board) == pytest.approx(50)  # every join is between unlike classes
    assert contagion((torch.arange(400)[:, None] >= 200).long().expand(400, 400)) > 48
    assert contagion(Rng(0).integers(4, (300, 300))) == pytest.approx(0, abs=0.1)
    with pytest.raises(DataError, match="one only"):
        contagion(torch.zeros(3, 3, dtype=torch.long))
    with pytest.raises(DataError, match="nowhere"):
        landscape(classes, (1.0, 1.0), only=5)


@pytest.mark.parametrize(
    ("name", "patches", "metrics", "urban"),
    [
        (
            "ls100_06",
            364,
            (0.4709113819438127, 23.053845888081657, 35.4345379031945, 68.80319721362149),
            (2, 0.3467327402214425, 0.5886995562111038, 0.6378656729935696),
        ),
        (
            "ls250_06",
            365,
            (0.47518359804282145, 17.88515800357529, 57.46462839486096, 63.759036431663674),
            (3, 0.2960795667319177, 0.6017238575378111, 0.6586436818994958),
        ),
    ],
)
def test_landscape_is_that_of_pylandstats(
    name: str, patches: int, metrics: tuple[float, ...], urban: tuple[float, ...], shared: Path
) -> None:
    """Reference values: PyLandStats 3.1.0 on its own test data, 21 classes of CORINE land cover."""
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(shared / "geography" / "pylandstats" / f"{name}.tif") as source:
        classes, spacing = torch.from_numpy(source.read(1).astype(np.int64)), source.res
    mask = classes != 255
    found = landscape(classes, spacing, mask)
    assert found.patches == patches
    own = (found.patch_density, found.edge_density, found.largest_patch)
    assert own == pytest.approx(metrics[:3], rel=1e-9)
    assert contagion(classes, mask) == pytest.approx(metrics[3], abs=0.3)  # its code leaves the areas of classes out
    one = landscape(classes, spacing, mask, only=1)
    assert (one.patches, one.edge_density, one.largest_patch, one.proportion) == pytest.approx(urban, rel=1e-9)
