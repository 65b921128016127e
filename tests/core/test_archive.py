"""Files give back what was saved, bit for bit, open elsewhere, and are refused when damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import posteriori as po
from posteriori import Draws, Gaussian, Mixture, Posterior, Rng, Space, infer
from posteriori.core.categorical import Categorical
from posteriori.core.covariance import DiagonalCovariance, LowRankCovariance
from posteriori.core.errors import MissingExtraError, StoreError
from posteriori.core.support import Circular, Classes, Interval
from posteriori.inference.exact import Exact
from posteriori.inference.problems import regression

DAYS = np.array(["2020-01-01", "2020-01-02", "2020-01-05"], "M8[ns]")


def _all() -> dict[str, Posterior]:
    days = Space(
        "slip", {"t": DAYS, "x": [0.1, 0.2]}, "mm", mask=torch.tensor([[True, True], [True, False], [True] * 2])
    )
    flat = Space("m", {"n": ["Sn-132", "Pb-208"]}, "keV", extra={"Z": ("n", np.array([50, 82]))})
    joined = Space.of(a=Space("a", {"x": 2}, mask=torch.tensor([False, True])), b=Space("b", {"y": ["u"]}, "km"))
    rows = Rng(0).normal((40, 3, 2))
    weights = Rng(1).normal((40,))
    weights[3] = -torch.inf
    log_z = torch.tensor(-3.25, dtype=torch.float64)
    g = Gaussian(flat, Rng(2).normal((2,)), LowRankCovariance(Rng(3).normal((2, 1)), torch.ones(2).double()))
    one_problem = {"event": np.array(["x", "y", "z"])}
    stats = {"accepted": torch.ones(40, dtype=torch.bool), "steps": torch.arange(40), "energy": Rng(5).normal((40, 2))}
    return {
        "draws": Draws(days, rows, chains=4, stats=stats),
        "weighted": Draws(days, rows.float(), weights, log_evidence=log_z),
        "problems": Draws(flat, rows, problems=one_problem),
        "low rank": g,
        "diagonal": Gaussian(joined, Rng(4).normal((3,)), DiagonalCovariance(torch.ones(3).double())),
        "mixture": Mixture([g, Draws(flat, Rng(6).normal((20, 2)))], torch.tensor([0.1, 0.9])),
        "classes": Categorical(Space("c", {"x": 2}, support=Classes(("a", "b"))), torch.full((2, 2), 0.5)),
        "angles": Draws(Space("az", {"x": 2}, "deg", Circular(360.0)), Rng(7).uniform((5, 2)) * 360),
        "interval": Draws(Space("p", {"x": 2}, support=Interval(0.0, 1.0)), Rng(7).uniform((5, 2))),
        "scalar": Draws(Space("m"), Rng(8).normal((10,))),
        "answer": infer(regression(), Exact()),
    }


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()


@pytest.mark.parametrize("name", _all())
def test_a_round_trip_loses_no_bit(name: str, tmp_path: Path) -> None:
    saved = _all()[name]
    path = saved.save(tmp_path / "run.nc")
    loaded = po.load(path)
    assert type(loaded) is type(saved)
    for key, tensor in saved.state_dict().items():
        if name != "answer" or not key.startswith("covariance"):
            assert _equal(tensor, loaded.state_dict()[key]), key
    assert loaded.space.same(saved.space)
    assert (loaded.space.unit, loaded.space.support) == (saved.space.unit, saved.space.support)
    assert [(p.name, p.unit, p.mask is None) for p in loaded.space.parts] == [
        (p.name, p.unit, p.mask is None) for p in saved.space.parts
    ]
    assert (loaded.space.mask is None) == (saved.space.mask is None)
    assert loaded.space.mask is None or torch.equal(loaded.space.mask, saved.space.mask)
    assert {k: v[1].tolist() for k, v in loaded.space.extra.items()} == {
        k: v[1].tolist() for k, v in saved.space.extra.items()
    }
    assert loaded.run == saved.run
    assert list(loaded.problems) == list(saved.problems)
    for key, labels in saved.problems.items():
        assert np.array_equal(loaded.problems[key], labels)
    if isinstance(saved, Draws):
        assert isinstance(loaded, Draws)
        assert loaded.chains == saved.chains
        assert all(_equal(saved.stats[k], loaded.stats[k]) for k in saved.stats)
    if saved.log_evidence is not None:
        assert loaded.log_evidence is not None
        assert _equal(saved.log_evidence, loaded.log_evidence)
    if saved.observed is not None:
        assert saved.observed.identical(loaded.observed)


def test_dates_come_back_as_dates(tmp_path: Path) -> None:
    loaded = po.load(_all()["draws"].save(tmp_path / "run.nc"))
    assert np.array_equal(loaded.space.labels("t"), DAYS)
    assert loaded.mean().sel(t="2020-01-05", x=0.1).ndim == 0


def test_joint_data_of_a_stack_come_back(tmp_path: Path) -> None:
    target = regression()
    saved = infer(target, Exact())
    loaded = po.load(saved.save(tmp_path / "run.nc"))
    assert torch.equal(target.operator.codomain.align(loaded.observed), target.data)
    assert loaded.run is not None
    assert loaded.run.references == Exact.references
    assert po.cite(loaded) == "\n".join(Exact.references)


def test_arviz_opens_the_file(tmp_path: Path) -> None:
    arviz = pytest.importorskip("arviz")
    saved = _all()["draws"]
    assert isinstance(saved, Draws)
    found = arviz.from_netcdf(str(saved.save(tmp_path / "run.nc")))
    assert dict(found.posterior.sizes) == {"chain": 4, "draw": 10, "t": 3, "x": 2}
    assert np.array_equal(found.posterior["slip"].values[1, 0, 0], saved.values[10, 0].numpy())
    assert found.sample_stats["accepted"].shape == (4, 10)
    answer = arviz.from_netcdf(str(_all()["answer"].save(tmp_path / "answer.nc")))
    assert set(answer.groups()) >= {"posterior", "observed_data"}
    assert answer.posterior.sizes["draw"] >= 100


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """Cut at 60 places, and with 60 single bytes turned: an error of the right kind, or every bit of the law."""
    saved = _all()["draws"]
    path = saved.save(tmp_path / "run.nc")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for k in range(120):
        broken = bytearray(whole[: rng.integers(len(whole))] if k < 60 else whole)
        if k >= 60:
            broken[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        (tmp_path / "broken.nc").write_bytes(bytes(broken))
        try:
            loaded = po.load(tmp_path / "broken.nc")
        except StoreError:
            refused += 1
            continue
        assert all(_equal(v, loaded.state_dict()[key]) for key, v in saved.state_dict().items())
    assert refused >= 60


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.nc", None, "does not exist"),
        ("empty.nc", b"", "cannot be read"),
        ("text.nc", b"Z,N,mass\n1,2,3\n", "cannot be read"),
    ],
)
def test_what_is_no_posterior_is_refused(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match=message):
        po.load(tmp_path / name)


def test_a_foreign_netcdf_is_refused(tmp_path: Path) -> None:
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "foreign.nc", engine="h5netcdf")
    with pytest.raises(StoreError, match="not written by posteriori"):
        po.load(tmp_path / "foreign.nc")


def test_a_file_without_its_law_is_refused(tmp_path: Path) -> None:
    root = xr.Dataset(attrs={"posteriori_format": 1, "run": ""})
    xr.DataTree.from_dict({"/": root}).to_netcdf(tmp_path / "cut.nc", engine="h5netcdf")
    with pytest.raises(StoreError, match="cut short"):
        po.load(tmp_path / "cut.nc")


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"\.pkl"):
        _all()["scalar"].save(tmp_path / "run.pkl")
    assert not list(tmp_path.iterdir())


def test_zarr_round_trip_or_a_clear_error(tmp_path: Path) -> None:
    saved = _all()["weighted"]
    try:
        import zarr  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError, match="zarr"):
            saved.save(tmp_path / "run.zarr")
        assert not list(tmp_path.iterdir())
        return
    loaded = po.load(saved.save(tmp_path / "run.zarr"))
    assert _equal(saved.state_dict()["values"], loaded.state_dict()["values"])
