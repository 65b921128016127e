"""Land change: amounts exact, nothing forbidden, chances as stated, clear refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from posteriori.core import memory
from posteriori.core.errors import DataError, MemoryBudgetError, OptionError, ShapeError
from posteriori.core.map_grid import MapGrid, as_wkt
from posteriori.core.random import Rng
from posteriori.core.raster import Kind, Raster
from posteriori.core.run import Context
from posteriori.domains.geography import land_drivers
from posteriori.domains.geography.land_contest import Trial, chosen, merit, pairs_of, parted
from posteriori.domains.geography.land_growth import Growth, best_map, expected_quotas, random_quotas
from posteriori.domains.geography.land_maps import LandMaps, read_land
from posteriori.domains.geography.land_potential import NEAR, RECIPES, Pair, Potential, require_seen, transitions
from posteriori.domains.geography.land_scores import Judged, broken, off_total
from posteriori.domains.geography.maps import SHADES, Named, Panel, maps_picture
from posteriori.domains.geography.raster import read_raster, write_raster
from posteriori.domains.geography.studies import land_change
from posteriori.domains.geography.studies.land_change import Study
from posteriori.domains.geography.synthetic_city import grown_city
from posteriori.inference.exact_totals import Clustering, drawn, with_totals

GRID = MapGrid((24, 30), (100.0, 0, 5e5, 0, -100.0, 5e6), as_wkt("EPSG:32633"))


def three_classes(seed: int = 0) -> tuple[LandMaps, Growth]:
    """A map of three classes with chances made up, one transition (2 to 0) forbidden, some cells closed."""
    draw = np.random.default_rng(seed)
    before = draw.integers(0, 3, GRID.shape)
    open_ = draw.random(GRID.shape) < 0.9
    allowed = np.array([[0, 1, 1], [1, 0, 0], [0, 1, 0]], bool)
    chance = np.where(allowed[before].transpose(2, 0, 1) & open_, draw.uniform(0.01, 0.3, (3, *GRID.shape)), 0.0)
    raster = Raster("land", before[None].astype(np.uint8), GRID, "1", Kind.CATEGORICAL, 255)
    land = LandMaps(raster, (0, 1, 2), np.stack([before, before]), (0.0, 1.0), (), open_)
    return land, Growth(before, chance, allowed, np.full(3, 1.3), Clustering(2.0, 0.7))


def files(place: Path, *maps: np.ndarray) -> tuple[str, ...]:
    found = []
    for at, codes in enumerate(maps):
        raster = Raster("land", codes[None].astype(np.uint8), GRID, "1", Kind.CATEGORICAL, 255)
        found.append(str(write_raster(raster, place / f"land{1990 + 10 * at}.tif")))
    return tuple(found)


def with_total(p: np.ndarray, total: float, slope: float = 1.0) -> np.ndarray:
    return with_totals(p[None], np.array([total]), np.array([slope]))[0]


def test_totals_and_order() -> None:
    p = np.random.default_rng(0).uniform(0.001, 0.5, 500)
    for total in (0, 3, 120.5, 499.99, 500):
        assert with_total(p, total, 1.4).sum() == pytest.approx(total, abs=1e-6)
    raised = with_total(p, 60.0)
    assert (np.argsort(raised) == np.argsort(p)).all()
    assert with_total(p, p.sum()) == pytest.approx(p, abs=1e-9)
    with pytest.raises(DataError, match="501"):
        with_total(p, 501)
    with pytest.raises(DataError, match="-1 changes"):
        with_total(p, -1)
    with pytest.raises(DataError, match="-1 changes"):
        drawn(p, -1, np.zeros(500))


@settings(max_examples=60, deadline=None)
@given(
    gains=st.integers(1, 4),
    cells=st.integers(4, 60),
    share=st.floats(0, 1),
    wide=st.floats(0.1, 12),
    seed=st.integers(0, 99),
)
def test_gains_that_exclude_each_other_have_their_totals(
    gains: int, cells: int, share: float, wide: float, seed: int
) -> None:
    """Whatever the chances: each sum is its total, no cell gains more than one class, odds between gains keep order."""
    draw = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(wide * draw.normal(size=(gains, cells))))
    totals = np.floor(draw.dirichlet(np.ones(gains)) * share * cells)
    totals[0] += cells - totals.sum() if share == 1 else 0
    found = with_totals(p, totals, np.ones(gains))
    assert found.sum(1) == pytest.approx(totals, abs=1e-5 * cells)
    assert (found >= 0).all()
    assert (found.sum(0) <= 1 + 1e-9).all()
    some = np.flatnonzero(totals)
    if len(some) > 1 and totals.sum() < cells:
        odds, before = (np.log(q[some[0]] / q[some[1]]) for q in (found, np.clip(p, 1e-6, 1 - 1e-6)))
        assert odds - before == pytest.approx(np.full(cells, (odds - before)[0]), abs=1e-5)


def test_excluding_gains_by_brute_force() -> None:
    """Staying, one gain and the other are as (1 - p) (1 - q), p and q; totals are left as they are."""
    p = np.array([[0.3, 0.05, 0.6], [0.1, 0.4, 0.2]])
    stays = (1 - p).prod(0)
    expected = p / (p.sum(0) + stays)
    assert with_totals(p, expected.sum(1), np.ones(2)) == pytest.approx(expected, abs=1e-8)


def test_clustered_noise_is_standard_normal() -> None:
    """Mean and variance within five standard errors (false alarm 1e-6); neighbours as correlated as expected."""
    fields = np.stack([Clustering(2.0, 0.6).field((40, 40), Rng(at)) for at in range(400)])
    assert abs(fields.mean()) < 5 * fields.mean((1, 2)).std() / 20
    assert fields.var(0).mean() == pytest.approx(1.0, abs=0.05)
    beside = (fields * np.roll(fields, 1, 2)).mean()
    assert beside == pytest.approx(0.6 * np.exp(-1 / (4 * 2.0**2)), abs=0.03)


def test_draws_come_as_often_as_stated() -> None:
    """Frequencies of 2000 clustered draws with an exact total: the worst of 20 groups within 0.03."""
    draw = np.random.default_rng(1)
    p = with_total(draw.uniform(0.01, 0.6, 900), 200)
    noise = Clustering(1.5, 0.5)
    found = np.stack([drawn(p, 200, noise.field((30, 30), Rng(at)).ravel()) for at in range(2000)])
    assert (found.sum(1) == 200).all()
    order = np.argsort(p).reshape(20, -1)
    assert np.abs(found.mean(0)[order].mean(1) - p[order].mean(1)).max() < 0.03


def test_members_have_exact_amounts_and_nothing_forbidden() -> None:
    land, growth = three_classes()
    quotas = np.stack([np.array([[0, 30, 12], [7, 0, 0], [0, 25, 0]]), np.array([[0, 0, 1], [0, 0, 0], [0, 60, 0]])])
    members = growth.members(quotas, Rng(0))
    assert off_total(growth.before, members, quotas) == 0
    assert broken(growth.before, members, growth.allowed, land.open) == (0, 0)
    for member, quota in zip(members, quotas, strict=True):
        pair = Pair(growth.before, member, 0, np.ones(GRID.shape, bool))
        found = transitions([pair], 3)
        np.fill_diagonal(found, 0)
        assert (found == quota).all()
    p = growth.probabilities(quotas[0])
    assert p.sum(0) == pytest.approx(np.ones(GRID.shape))
    best = best_map(growth.before, p, quotas[0])
    assert off_total(growth.before, best[None], quotas[:1]) == 0


def test_gains_that_exclude_each_other_come_as_often_as_stated() -> None:
    """Frequencies of 1500 members with two gains of one class: the worst of 10 groups of each within 0.03."""
    draw = np.random.default_rng(3)
    before, allowed = np.zeros((30, 30), np.int64), np.array([[0, 1, 1], [0, 0, 0], [0, 0, 0]], bool)
    chance = np.stack([np.zeros((30, 30)), *draw.uniform(0.02, 0.7, (2, 30, 30))])
    growth = Growth(before, chance, allowed, np.ones(3), Clustering(1.5, 0.8))
    quotas = np.array([[0, 250, 180], [0, 0, 0], [0, 0, 0]])
    p = growth.probabilities(quotas)
    members = growth.members(np.stack([quotas] * 1500), Rng(0))
    for code in (1, 2):
        order = np.argsort(p[code], axis=None).reshape(10, -1)
        came = (members == code).mean(0).ravel()
        assert np.abs(came[order].mean(1) - p[code].ravel()[order].mean(1)).max() < 0.03


def test_quotas_beyond_what_cells_bear_are_cut() -> None:
    _, growth = three_classes()
    cut = growth.capped(np.full((1, 3, 3), 10_000))
    assert (cut[0][~growth.allowed] == 0).all()
    members = growth.members(cut, Rng(0))
    assert off_total(growth.before, members, cut) == 0


def test_what_breaks_the_rules_is_counted() -> None:
    land, growth = three_classes()
    wrong = growth.before.copy()
    at = tuple(np.argwhere((growth.before == 2) & ~land.open)[0])
    wrong[at] = 0
    assert broken(growth.before, wrong[None], growth.allowed, land.open) == (1, 1)
    assert off_total(growth.before, wrong[None], np.zeros((1, 3, 3), int)) == 1


def test_distances_by_brute_force() -> None:
    state = (np.random.default_rng(2).random((12, 15)) < 0.1).astype(np.int64)
    found = land_drivers.near(state, 1, 0, (), np.arange(2))
    places = np.argwhere(state == 1)
    cells = np.stack(np.meshgrid(np.arange(12), np.arange(15), indexing="ij"), -1)
    distance = np.linalg.norm(cells[:, :, None] - places, axis=-1).min(2)
    assert found[..., 1] == pytest.approx(np.log1p(distance))
    padded = np.pad(state, 1)
    around = sum(padded[1 + r : 13 + r, 1 + c : 16 + c] for r in (-1, 0, 1) for c in (-1, 0, 1))
    assert found[..., 0] == pytest.approx(around)


def test_trend_goes_on_as_compound_growth() -> None:
    """100 cells that became 150 in ten years become 225 in ten more, 183.7 in five."""
    before, after = np.zeros((2, 30, 30), np.int64)
    before.ravel()[:100] = 1
    after.ravel()[:150] = 1
    everywhere = np.ones((30, 30), bool)
    last = Pair(before, after, 0, everywhere)
    assert expected_quotas(last, 10.0, 2, after, 10.0, everywhere)[0, 1] == pytest.approx(75)
    assert expected_quotas(last, 10.0, 2, after, 5.0, everywhere)[0, 1] == pytest.approx(150 * (1.5**0.5 - 1))
    fresh = expected_quotas(Pair(np.zeros_like(after), after, 0, everywhere), 10.0, 2, after, 5.0, everywhere)
    assert fresh[0, 1] == pytest.approx(75), "a class without area before goes on by its cells a year"
    assert expected_quotas(last, 10.0, 2, after, 1e9, everywhere)[0, 1] == 900, "no more than there are"
    half = np.arange(30) < 15
    elsewhere = expected_quotas(Pair(before, after, 0, np.outer(half, ~half | half)), 10.0, 2, after, 10.0, everywhere)
    assert elsewhere[0, 1] == pytest.approx(75)
    quotas = random_quotas(np.array([[0.0, 75.0], [0, 0]]), 0.3, 4001, Rng(0))
    assert np.median(quotas[:, 0, 1]) == pytest.approx(75, abs=3)
    assert np.log(quotas[:, 0, 1]).std() == pytest.approx(0.3, rel=0.05)


def test_figure_of_merit_counts() -> None:
    before = np.zeros((10, 10), np.int64)
    simulated, after = before.copy(), before.copy()
    simulated[0, :6] = 1
    after[0, 2:8] = 1
    assert merit(before, simulated, after, np.ones((10, 10), bool)) == pytest.approx(4 / 8)


def test_two_maps_are_parted_with_a_gap() -> None:
    land, _ = three_classes()
    learn, test = parted(pairs_of(land)[0], 8)
    assert not (learn.where & test.where).any()
    near = np.argwhere(learn.where)[:, None] - np.argwhere(test.where)
    assert np.abs(near).sum(-1).min() > 3


def test_made_up_city_keeps_its_law() -> None:
    land, city = grown_city(Rng(0))
    assert (np.diff(land.codes, axis=0) >= 0).all()
    assert not (land.codes[-1][city.water]).any()
    urban = land.codes[0] > 0
    chance = city.chance(urban)
    assert (chance[urban | city.water] == 0).all()
    assert chance.max() < 1
    once = np.mean([(Rng(at).numpy.random(urban.shape) < chance).sum() for at in range(50)])
    assert once == pytest.approx(chance.sum(), rel=0.1)


def test_choice_and_law_on_a_small_city() -> None:
    land, _ = grown_city(Rng(3))
    small = slice(0, 60), slice(0, 60)
    codes = land.codes[:, *small]
    raster = land.raster.window(*small)
    drivers = tuple(type(d)(d.name, d.values[:, *small]) for d in land.drivers)
    cut = LandMaps(raster, land.classes, codes, land.years, drivers, land.open[small])
    pairs = pairs_of(cut)[:-1]
    found = chosen(cut, pairs, 15, Rng(0), [NEAR])
    assert found.recipe == NEAR
    assert found.scores[NEAR] < np.log(2)
    potential = Potential.learnt(cut, RECIPES[NEAR], pairs, 0)
    assert potential.allowed.tolist() == [[False, True], [False, False]]
    chance = potential(codes[2], 2)
    assert (chance[1][~cut.open | (codes[2] == 1)] == 0).all()


def test_a_class_never_learnt_from_is_refused() -> None:
    land, growth = three_classes()
    before = np.where(growth.before == 2, 1, growth.before)
    with pytest.raises(DataError, match="class 2 stands in the map to go on from"):
        require_seen(land, growth.before, [Pair(before, before, 0, land.open)])
    require_seen(land, np.where(growth.before == 2, -1, growth.before), [Pair(before, before, 0, land.open)])


@pytest.mark.parametrize("name", list(RECIPES)[:2])
def test_a_class_that_comes_or_goes_keeps_its_features(name: str) -> None:
    """Class 2 is in one of two maps learnt from and not in the map to go on from: a column of its own all the same."""
    land, growth = three_classes()
    first = np.where(growth.before == 2, 0, growth.before)
    second = np.where(growth.before == 2, 1, growth.before)
    second[:6, :6], land = 2, replace(land, codes=np.stack([first, second]))
    after = np.where(np.random.default_rng(1).random(GRID.shape) < 0.2, 1, second)
    learnt = Potential.learnt(
        land, RECIPES[name], [Pair(first, second, 0, land.open), Pair(second, after, 1, land.open)], 0
    )
    assert learnt.classes.tolist() == [0, 1, 2]
    gone = np.where(second == 2, 0, second)
    chance = learnt(gone, 1)
    assert np.isfinite(chance).all()
    rows = land_drivers.near(gone, 1, 1, (), learnt.classes)
    assert rows.shape[-1] == 4
    assert (rows[..., 3] == 0).all()
    assert (rows[..., 2] == (gone == 0)).all()


def test_what_cannot_be_learnt_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A class that stands in the last map alone, before anything is chosen; squares that leave nothing out."""
    draw = np.random.default_rng(0)
    first = draw.integers(0, 2, GRID.shape)
    second = np.where(draw.random(GRID.shape) < 0.1, 1, first)
    paths = files(tmp_path, first, second, np.where(draw.random(GRID.shape) < 0.1, 2, second))
    with pytest.raises(DataError, match="give a smaller block"):
        Study(data=paths[:2], block=30, quick=True)(Context(Rng(0)))

    def never(*_: object) -> None:
        raise AssertionError("learnt")

    monkeypatch.setattr(land_change, "chosen", never)
    with pytest.raises(DataError, match="class 2 stands in the map to go on from"):
        Study(data=paths)(Context(Rng(0)))


def test_nothing_changes_is_refused() -> None:
    land, growth = three_classes()
    with pytest.raises(DataError, match="no cell changes"):
        Potential.learnt(land, RECIPES[NEAR], [Pair(growth.before, growth.before, 0, land.open)], 0)


def test_maps_are_read_and_bad_ones_refused(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    first = draw.choice([0, 7], GRID.shape)
    paths = files(tmp_path, first, np.where(first == 0, 7, first))
    land = read_land(paths)
    assert land.classes == (0, 7)
    assert land.years == (1990.0, 2000.0)
    assert land.codes[0].tolist() == (first == 7).astype(int).tolist()
    assert read_land([str(tmp_path / "land*.tif")]).years == land.years
    closed = write_raster(
        Raster("x", (first[None] * 10).astype(np.uint8), GRID, "1", Kind.CATEGORICAL), tmp_path / "x.tif"
    )
    assert (read_land(paths, excluded=closed).open == (first == 0)).all()
    with pytest.raises(DataError, match="two maps at least"):
        read_land(paths[:1])
    for years in ((2000, 1990), (1990, float("nan")), (1990, float("inf"))):
        with pytest.raises(OptionError, match="rising"):
            read_land(paths, years=years)
    other = Raster("land", first[None, :12].astype(np.uint8), MapGrid((12, 30), GRID.transform, GRID.crs), "1")
    with pytest.raises(ShapeError, match="does not lie on the grid"):
        read_land([paths[0], str(write_raster(other, tmp_path / "other.tif"))])
    smooth = Raster("t", draw.normal(size=(1, *GRID.shape)), GRID, "K", nodata=float("nan"))
    with pytest.raises(DataError, match="holds no classes"):
        read_land([str(write_raster(smooth, tmp_path / "t1.tif")), str(tmp_path / "t1.tif")])
    everything = write_raster(Raster("y", np.ones((1, *GRID.shape), np.uint8), GRID, "1"), tmp_path / "y.tif")
    with pytest.raises(DataError, match="closes every cell"):
        read_land(paths, protected=everything)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"block": 2}, "block=2"),
        ({"members": 5}, "members=5"),
        ({"ahead": -1.0}, "ahead=-1"),
        ({"ahead": float("inf")}, "ahead=inf"),
        ({"total": -3}, "total=-3"),
        ({"drivers": ("slope.tif",)}, "maps of your own"),
    ],
)
def test_options_are_checked(options: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Study(**options)  # type: ignore[arg-type]


def test_a_total_beyond_the_map_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is learnt; one that just fits is taken."""
    land, _ = grown_city(Rng(0).child("city"))
    room = int((land.open & (land.codes[-1] == 0)).sum())

    def never(*_: object) -> None:
        raise AssertionError("learnt")

    monkeypatch.setattr(land_change, "chosen", never)
    with pytest.raises(DataError, match=f"{room} are open to change"):
        Study(total=room + 1)(Context(Rng(0)))
    with pytest.raises(AssertionError, match="learnt"):
        Study(total=room)(Context(Rng(0)))
    monkeypatch.setattr(memory, "available", lambda: 10_000_000)
    with pytest.raises(MemoryBudgetError, match="fewer members="):
        Study(members=2000)(Context(Rng(0)))


def test_members_are_judged_as_one_by_one() -> None:
    """Hits over changes of all members, with the error of their number; chance alone misses little."""
    land, growth = three_classes()
    quotas = np.array([[0, 30, 12], [7, 0, 0], [0, 25, 0]])
    maps = growth.members(np.stack([quotas] * 40), Rng(0))
    pair = Pair(growth.before, maps[0], 0, land.open)
    trial = Trial(pair, growth, quotas, growth.probabilities(quotas), maps[1:], maps[1], maps[1:], maps[1])
    judged = Judged(trial, 8)
    found = judged.members_merit(trial.members)
    assert found.value == pytest.approx(judged.merit(trial.members))
    each = np.array([judged.merit(one) for one in trial.members])
    assert found.standard_error == pytest.approx(each.std(ddof=1) / np.sqrt(len(each)), rel=0.1)
    assert judged.calibration_by_chance() < 0.06


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint8", 255), ("float64", np.nan), ("int32", -(2**31)), ("uint8", None)]
)
def test_members_are_written_in_the_numbers_given(dtype: str, nodata: float | None, tmp_path: Path) -> None:
    land, growth = three_classes()
    raster = replace(land.raster, stored=land.raster.stored.astype(dtype), nodata=nodata)
    maps = np.stack([growth.before, np.where(growth.before == 2, -1, growth.before)])
    found = replace(land, raster=raster, classes=(3, 7, 11)).members(maps)
    back = read_raster(write_raster(found, tmp_path / "members.tif"))
    assert (back.observed == (maps >= 0)).all()
    assert (back.stored[maps >= 0] == np.array([3, 7, 11])[maps[maps >= 0]]).all()


def test_places_stay_places_beside_gaps(tmp_path: Path) -> None:
    """A driver of two numbers and gaps is a set of places still: distances count, and gaps are none."""
    draw = np.random.default_rng(0)
    first = draw.choice([0, 7], GRID.shape)
    roads = np.where(np.arange(30) < 5, 255, np.arange(30) == 20) * np.ones((24, 1), np.uint8)
    path = write_raster(Raster("r", roads[None].astype(np.uint8), GRID, "1", nodata=255), tmp_path / "roads.tif")
    land = read_land(files(tmp_path, first, np.where(first == 0, 7, first)), [str(path)])
    assert land.drivers[0].places
    assert land.known.sum() == 24 * 25
    distance = land_drivers.near(land.codes[0], 1, 0, land.drivers, np.arange(2))[..., 2]
    assert distance[0] == pytest.approx(np.log1p(np.abs(np.arange(30) - 20)))


def test_classes_are_drawn_by_name() -> None:
    """As many ticks as classes, each with its name; a cell has the colour of its class."""
    _, growth = three_classes()
    named = Named("class", ("forest", "built", "other"))
    figure = maps_picture({"now": Panel(np.where(growth.before == 2, np.nan, growth.before), named)}, GRID)
    axes, bar = figure.axes
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["forest", "built", "other"]
    mesh = axes.collections[0]
    colours = {to_hex(mesh.to_rgba(code)) for code in (0, 1, 2)}
    assert colours == set(SHADES[:3])


@pytest.mark.slow
def test_study_offline(tmp_path: Path) -> None:
    """Every gate holds, the files have the grid, the total asked for is met to the cell."""
    outcome = Study(quick=True, total=200)(Context(Rng(0)))
    assert outcome.report.passed
    assert outcome.scores["off_total"] == outcome.scores["forbidden"] == outcome.scores["closed_changed"] == 0
    for name, write in outcome.files.items():
        write(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 0
    posterior = outcome.posterior
    assert posterior is not None
    chance = posterior.probability(lambda x: x == 1)["probability"].to_numpy()
    assert chance.sum() == pytest.approx(float(grown_city(Rng(0).child("city"))[0].codes[-1].sum()) + 200)
    for picture in outcome.pictures.values():
        picture()
