"""Joint mass tables: the draws follow their law, and every file reads back, as TALYS would read it too."""

from __future__ import annotations

import gzip
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from posteriori.core.covariance import DiagonalCovariance, LowRankCovariance, ScaledCovariance, SumCovariance
from posteriori.core.errors import MemoryBudgetError, OptionError, StoreError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.domains.nuclei import data, law
from posteriori.domains.nuclei import joint_tables as module
from posteriori.domains.nuclei.chart import chart, protons_neutrons, whole_chart
from posteriori.domains.nuclei.export import JointTables
from posteriori.domains.nuclei.joint_tables import far_reaching, joint_tables, lower_triangle
from posteriori.domains.nuclei.problems import masses
from posteriori.domains.nuclei.separation import separation_energy
from posteriori.domains.nuclei.studies.export import Study
from posteriori.inference.exact import Exact


def small_law() -> Gaussian:
    """Calcium to iron given AME2003, with the prior's own numbers, mixed with a part that all share."""
    known = data.measured(2003)
    known = known[known["Z"].between(20, 26)].reset_index(drop=True)
    cells = law.cells_of(known, pd.DataFrame({"Z": 20, "N": range(36, 42)}))
    with torch.no_grad():
        found = Exact()(masses(cells, known, "dz10", 2003), Context())
        shared = LowRankCovariance(torch.full((cells.size, 1), 100.0, dtype=torch.float64), torch.zeros(cells.size))
        half = torch.tensor(0.5, dtype=torch.float64)
        whole = SumCovariance(ScaledCovariance(found.covariance, half), shared)
    return Gaussian(cells, found.location.detach(), whole)


def test_the_lower_triangle_is_that_of_the_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 17)
    covariance = small_law().covariance
    lower, whole = lower_triangle(covariance), covariance.dense().detach()
    assert torch.allclose(lower.tril(), whole.tril(), rtol=1e-10, atol=1e-6)
    assert float(lower.triu(17).abs().max()) == 0


def test_joint_tables_follow_their_law(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whitened by the law, 4000 draws are standard normal: false alarm below 1e-4 in each of three figures."""
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 40)
    found = small_law()
    n, cells = 4000, found.space.size
    draws = joint_tables(found, n, Rng(0))
    root = torch.linalg.cholesky(found.covariance.dense().detach())
    white = torch.linalg.solve_triangular(root, (draws - found.location).mT, upper=False)
    assert float(white.mean(1).square().sum() * n) == pytest.approx(cells, abs=4 * np.sqrt(2 * cells))
    assert float(white.square().sum()) == pytest.approx(cells * n, abs=4 * np.sqrt(2 * cells * n))
    off = (white @ white.mT / n - torch.eye(cells, dtype=torch.float64)).tril(-1)
    pairs = cells * (cells - 1) / 2
    assert float(off.square().sum() * n) == pytest.approx(pairs, abs=4 * np.sqrt(2 * pairs) * 1.1)
    assert torch.equal(draws[:5], joint_tables(found, n, Rng(0))[:5])
    assert not torch.equal(draws, joint_tables(found, n, Rng(1)))


def test_no_draws_or_no_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = small_law()
    with pytest.raises(OptionError, match="one or more"):
        joint_tables(found, 0, Rng(0))
    monkeypatch.setattr("posteriori.core.memory.available", lambda: 1000)
    with pytest.raises(MemoryBudgetError, match="smaller zmax"):
        joint_tables(found, 10, Rng(0))


def test_baselines_that_end_early_are_left_out(shared: Path) -> None:
    """The table of DZ28 ends at N = 208, where a formula goes on."""
    question = law.Question(2003, ("dz10", "dz28"), shared / "nuclei")
    heavy = chart([100] * 80, range(152, 232))
    assert far_reaching(question, heavy).baselines == ("dz10",)
    assert far_reaching(question, chart([50] * 30, range(60, 90))).baselines == ("dz10", "dz28")
    with pytest.raises(OptionError, match="take dz10"):
        far_reaching(replace(question, baselines=("dz28",)), heavy)


def tables() -> JointTables:
    """Two tables around AME2020 for iron, tin and element 120 (out of order)."""
    known = data.evaluation(2020).set_index(["Z", "N"])["mass_excess"]
    nuclei = [(50, 82), (26, 30), (26, 29), (120, 180), (50, 81)]
    cells = chart([z for z, _ in nuclei], [n for _, n in nuclei])
    excess = np.array([known.get(nucleus, 211_000.125) for nucleus in nuclei])
    return JointTables(cells, np.stack([excess, excess + 1000.0]), "a test, AME2020")


def test_csv_reads_back(tmp_path: Path) -> None:
    written = tables()
    written.write_csv(tmp_path / "masses.csv.gz")
    read = pd.read_csv(tmp_path / "masses.csv.gz", comment="#")
    assert read["nuclide"].tolist() == ["132Sn", "56Fe", "55Fe", "120-300", "131Sn"]
    assert read[["Z", "N"]].to_numpy().tolist() == np.stack(protons_neutrons(written.cells), 1).tolist()
    assert np.abs(read[["draw1 [keV]", "draw2 [keV]"]].to_numpy().T - written.draws).max() <= 0.0501
    assert read["sd [keV]"].tolist() == [500.0] * 5
    with gzip.open(tmp_path / "masses.csv.gz", "rt") as file:
        assert file.readline() == "# a test, AME2020\n"
    first = (tmp_path / "masses.csv.gz").read_bytes()
    written.write_csv(tmp_path / "masses.csv.gz")
    assert (tmp_path / "masses.csv.gz").read_bytes() == first


def test_netcdf_reads_back(tmp_path: Path) -> None:
    written = tables()
    written.write_netcdf(tmp_path / "masses.nc")
    with xr.open_dataset(tmp_path / "masses.nc", engine="h5netcdf") as read:
        excess = read["mass_excess"]
        assert excess.dims == ("draw", "nuclide")
        assert excess.attrs["units"] == "keV"
        assert float(excess.sel(nuclide="132Sn")[0]) == pytest.approx(-76546.554, abs=0.03)
        assert read["Z"].values.tolist() == [50, 26, 26, 120, 50]
        assert np.abs(excess.values - written.draws).max() <= 0.03


def talys(line: str) -> tuple[int, float, float, float, float, float, int]:
    """A line as the Fortran format (4x, i4, 2f12.6, 2f8.4, 20x, f4.1, i2) cuts it."""
    a, mass, excess = int(line[4:8]), float(line[8:20]), float(line[20:32])
    return a, mass, excess, float(line[32:40]), float(line[40:48]), float(line[68:72]), int(line[72:74])


def test_talys_reads_the_published_masses(tmp_path: Path) -> None:
    """AME2020 prints 56Fe as 55.934935537 u, 132Sn as 131.917823898 u."""
    tables().write_talys(tmp_path / "talys.zip")
    with zipfile.ZipFile(tmp_path / "talys.zip") as archive:
        names = archive.namelist()
        assert names == [f"draw000{i}/{symbol}.mass" for i in (1, 2) for symbol in ("Fe", "Sn", "C0")]
        iron, tin, heavy = ([talys(line) for line in archive.read(n).decode().splitlines()] for n in names[:3])
        more = [talys(line) for line in archive.read(names[3]).decode().splitlines()]
        start = archive.read(names[0]).decode()
    assert [line[0] for line in iron] == [55, 56]
    assert [line[0] for line in tin] == [131, 132]
    assert iron[1][1] == pytest.approx(55.934935537, abs=1e-6)
    assert iron[1][2] == pytest.approx(-60.607, abs=1e-3)
    assert tin[1][1] == pytest.approx(131.917823898, abs=1e-6)
    assert heavy[0][:3] == (300, pytest.approx(300 + 211.000125 / 931.49410242, abs=1e-6), pytest.approx(211.000125))
    assert more[1][2] - iron[1][2] == pytest.approx(1.0)
    assert [line[3:] for line in iron] == [(0.0, 0.0, 0.5, 1), (0.0, 0.0, 0.0, 1)]
    assert start.startswith("  26  55")


def test_a_table_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    broken = replace(tables(), draws=np.array([["no number"] * 5], dtype=object))
    for write in (broken.write_csv, broken.write_netcdf, broken.write_talys):
        with pytest.raises((TypeError, ValueError, AttributeError)):
            write(tmp_path / "masses.x")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        tables().write_csv(tmp_path / "file" / "masses.csv.gz")


def test_a_study_writes_what_was_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Elements up to 20, with the prior's own numbers in place of fitted ones."""
    monkeypatch.setattr(law, "fit", unfitted)
    found = Study(train=2003, baseline="dz10", draws=20, zmax=20, format="csv+netcdf")(Context())
    assert set(found.files) == {"masses.csv.gz", "masses.nc"}
    assert found.scores["nuclei"] == whole_chart(20).size
    for name, write in found.files.items():
        write(tmp_path / name)
    read = pd.read_csv(tmp_path / "masses.csv.gz", comment="#")
    cells: Space = chart(read["Z"], read["N"])
    draws = torch.tensor(read.filter(like="draw").to_numpy(np.float64).T)
    one, two = (separation_energy(cells, name)(draws) for name in ("S_n", "S_2n"))
    assert one.shape[0] == two.shape[0] == 20
    assert found.report["sd_ratio"].value == pytest.approx(1, abs=0.1)
    for draw in found.pictures.values():
        assert draw().axes


@pytest.mark.parametrize("options", [{"format": "xml"}, {"zmax": 130}, {"zmax": 3}, {"draws": 1}, {"train": 1999}])
def test_bad_options_are_refused_before_any_fit(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        Study(**options)(Context())


def unfitted(question: law.Question, context: Context) -> law.Fitted:
    """The numbers that the prior starts from, and light nuclei alone."""
    few = replace(question, measured=question.masses[question.masses["Z"] <= 22].reset_index(drop=True))
    target = few.target(law.cells_of(few.masses), question.baselines[0])
    return law.Fitted(few, {question.baselines[0]: {name: p.detach() for name, p in target.named_parameters()}})


def test_independent_parts_need_no_strips() -> None:
    """A diagonal covariance alone gives independent draws of its own spread."""
    cells = chart([20, 20, 21], [20, 21, 20])
    variance = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)
    found = Gaussian(cells, torch.zeros(3, dtype=torch.float64), DiagonalCovariance(variance))
    draws = joint_tables(found, 20_000, Rng(2))
    assert torch.allclose(draws.var(0) / variance, torch.ones(3, dtype=torch.float64), atol=4 * np.sqrt(2 / 20_000))
