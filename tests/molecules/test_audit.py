"""The study that audits samples: sources of sound rows, planted failures, files of one's own, pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori.audit.weighted_draws import Verdict
from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.molecules import sound_rows
from posteriori.domains.molecules.alanine import shipped
from posteriori.domains.molecules.audit_bench import bench
from posteriori.domains.molecules.audit_files import read_samples
from posteriori.domains.molecules.energies import ENERGIES, molecule_of, named_target
from posteriori.domains.molecules.planted import Planter
from posteriori.domains.molecules.studies.audit import Study
from posteriori.domains.molecules.trajectories import write_trajectory

EXACT = [
    sound_rows.gaussian(10),
    sound_rows.mixture(),
    sound_rows.double_well(),
    sound_rows.many_well(4),
    sound_rows.funnel(),
    sound_rows.mueller_brown(),
]


def well_rows(seed: int, n: int = 1000) -> np.ndarray:
    return sound_rows.double_well().independent(n, Rng(seed)).numpy()


@pytest.mark.parametrize("source", EXACT, ids=lambda s: s.name)
def test_sources_draw_what_quadrature_says(source: sound_rows.Drawn) -> None:
    """20 000 exact rows, every moment within 4.5 errors; false alarm 1e-4 a source."""
    figures = sound_rows.moments_of(source.target, source.independent(20_000, Rng(0)))
    z = (figures.mean(0) - source.moments()) / (figures.std(0) / len(figures) ** 0.5)
    assert bool((z[torch.isfinite(z)].abs() < 4.5).all())


def test_a_double_well_has_its_evidence_and_population() -> None:
    """log Z by a sum over another grid; 0.83 % in the right well, ΔF 4.777 kT."""
    x = torch.linspace(-7, 7, 140_001, dtype=torch.float64)
    p = torch.exp(-(x**4 / 4 - 3 * x.square() + x))
    exact = torch.log(p.sum() * (x[1] - x[0]) * (2 * torch.pi) ** 0.5)
    assert sound_rows.double_well().log_z == pytest.approx(float(exact), abs=1e-6)
    assert float((p[x < 0].sum() / p[x > 0].sum()).log()) == pytest.approx(4.777, abs=1e-3)


def test_a_proposal_draws_from_its_own_density() -> None:
    """E[f / q] over its rows is ∫ f for a narrow normal f, within 4 errors."""
    proposal = sound_rows.Proposal.around(torch.from_numpy(well_rows(1)), 0.5)
    x, log_q = proposal.draw(20_000, Rng(2))
    f = torch.exp(-(x + torch.tensor([2.5, 0.0])).square().sum(1) * 2) * 2 / torch.pi
    ratio = f / log_q.exp()
    assert abs(float(ratio.mean()) - 1) < 4 * float(ratio.std()) / 20_000**0.5


def test_every_kind_is_caught_when_gross_and_its_strengths_ascend() -> None:
    planter = Planter(100)
    kinds = [k for k in planter.kinds if k.name not in ("rounded rows", "uncentred")]
    assert len(planter.kinds) == 18
    for kind in kinds:
        strengths = kind.strengths(20)
        assert strengths == sorted(strengths)
        assert strengths[-1] == pytest.approx(kind.strong)
        rng = Rng(100).child(kind.name)
        assert kind.plant(kind.strong, rng).audited(rng).verdict is not Verdict.ACCEPT, kind.name


def test_a_file_of_rows_is_audited(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, well_rows(3))
    found = Study(data=path, energy="double-well")(Context(Rng(0)))
    assert found.scores["verdict"] == "accept"
    assert found.report.passed
    for picture in found.pictures.values():
        assert picture().axes


def test_weights_and_forward_rows_come_from_files(tmp_path: Path) -> None:
    source = sound_rows.double_well(1.0)
    proposal = sound_rows.Proposal.around(source.independent(2000, Rng(4)), 0.6, 0.3)
    x, log_q = proposal.draw(3000, Rng(5))
    forward = source.independent(2000, Rng(6))
    np.savez(
        tmp_path / "rows.npz", x=x.numpy(), log_q=log_q.numpy(), log_weight=-(source.target.energy(x) + log_q).numpy()
    )
    np.savez(tmp_path / "forward.npz", x=forward.numpy(), log_q=proposal.log_prob(forward).numpy())
    study = Study(data=tmp_path / "rows.npz", energy="double-well", forward=tmp_path / "forward.npz")
    found = study(Context(Rng(0)))
    assert float(str(found.scores["log_z_bar"])) == pytest.approx(source.log_z, abs=0.1)
    assert {"ess_forward", "ess_reverse", "pareto_k", "weight_gap"} <= set(found.scores)
    assert len(found.pictures) == 3
    for picture in found.pictures.values():
        assert picture().axes


def test_a_table_says_chains_and_temperature_counts(tmp_path: Path) -> None:
    rows = sound_rows.double_well(1.0, 0.5).chains(8, 100, Rng(7)).numpy()
    lines = [f"{i // 100},{x:.9f},{y:.9f}" for i, (x, y) in enumerate(rows)]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["chain,x,y", *lines, ""]), encoding="utf-8")
    assert read_samples(path).chains == 8
    warm = Study(data=path, energy="double-well", temperature=2.0)(Context(Rng(0)))
    cold = Study(data=path, energy="double-well")(Context(Rng(0)))
    assert warm.scores["verdict"] == "accept"
    assert cold.scores["verdict"] == "refuse"


def _file(tmp_path: Path, name: str, **arrays: np.ndarray) -> Path:
    path = tmp_path / name
    if name.endswith(".npz"):
        np.savez(path, **arrays)
    else:
        np.save(path, arrays["x"])
    return path


def test_files_that_cannot_be_read_are_refused_by_name(tmp_path: Path) -> None:
    rows = well_rows(8, 60)
    with pytest.raises(DataError, match="is no file"):
        read_samples(tmp_path / "absent.npy")
    (tmp_path / "rows.txt").write_text("1 2", encoding="utf-8")
    with pytest.raises(DataError, match=r"ends in '\.txt'"):
        read_samples(tmp_path / "rows.txt")
    for name in ("bad.npy", "bad.npz"):
        (tmp_path / name).write_bytes(b"no array at all")
        with pytest.raises(DataError, match="cannot be read"):
            read_samples(tmp_path / name)
    with pytest.raises(DataError, match="give real numbers"):
        read_samples(_file(tmp_path, "text.npy", x=np.array([["a", "b"]])))
    with pytest.raises(DataError, match="give real numbers"):
        read_samples(_file(tmp_path, "flat.npy", x=rows[:, 0]))
    with pytest.raises(DataError, match=r"holds y; x are the rows"):
        read_samples(_file(tmp_path, "named.npz", y=rows))
    with pytest.raises(DataError, match=r"log_q of short\.npz"):
        read_samples(_file(tmp_path, "short.npz", x=rows, log_q=np.zeros(59)))
    for labels in (np.arange(60) % 2, np.repeat([0, 1], [20, 40])):
        with pytest.raises(DataError, match="torn or of unequal length"):
            read_samples(_file(tmp_path, "torn.npz", x=rows, chain=labels))
    (tmp_path / "empty.csv").write_text("chain,log_q\n0,1\n", encoding="utf-8")
    with pytest.raises(DataError, match="no column of coordinates"):
        read_samples(tmp_path / "empty.csv")


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, "rows.npy", x=well_rows(9, 60))
    context = Context(Rng(0))
    for study, message in (
        (Study(data=path), "go together"),
        (Study(temperature=2.0), "speak of data="),
        (Study(data=path, energy="system"), "energy=system and system= go together"),
        (Study(data=path, energy="dw4", system="a,b"), "go together"),
        (Study(repeats=0), "at least 1"),
        (Study(data=path, energy="double-well", temperature=-1.0), "must be positive"),
        (Study(data=path, energy="double-well", temperature=float("nan")), "must be positive"),
    ):
        with pytest.raises(OptionError, match=message):
            study(context)
    with pytest.raises(DataError, match="dw4 takes rows of 8 numbers, and these have 2"):
        Study(data=path, energy="dw4")(context)
    chained = _file(tmp_path, "chained.npz", x=well_rows(10, 60), chain=np.repeat([0, 1], 30))
    with pytest.raises(OptionError, match="itself tells of 2"):
        Study(data=chained, energy="double-well", chains=3)(context)
    with pytest.raises(OptionError, match="not offered"):
        named_target("gas", 3)


@pytest.mark.parametrize("name", ENERGIES)
def test_every_named_energy_has_a_target(name: str) -> None:
    numbers = {"double-well": 2, "mueller-brown": 2, "many-well": 6, "funnel": 5, "gmm-40": 2, "dw4": 8, "lj13": 39}
    target = named_target(name, numbers[name])
    assert target.space.size == numbers[name]


def test_a_molecule_is_asked_in_kelvin(tmp_path: Path) -> None:
    """Rows of a harmonic law around a frame are no rows of the molecule; its energy is in kT at 300 K."""
    pytest.importorskip("openmm")
    target = named_target("alanine-vacuum", 66, molecule=molecule_of("alanine-vacuum"))
    assert target.beta == pytest.approx(1 / 2.494338785, rel=1e-6)
    frame = shipped().frame
    rows = frame + 0.01 * Rng(11).normal((60, 22, 3))
    path = _file(tmp_path, "frames.npy", x=(rows - rows.mean(1, keepdim=True)).numpy())
    found = Study(data=path, energy="alanine-vacuum")(Context(Rng(0)))
    write_trajectory(tmp_path / "frames.dcd", shipped(), rows)
    same = Study(data=tmp_path / "frames.dcd", energy="alanine-vacuum")(Context(Rng(0)))
    assert float(str(same.scores["mean_energy"])) == pytest.approx(float(str(found.scores["mean_energy"])), rel=1e-3)
    with pytest.raises(DataError, match="no molecule's"):
        Study(data=tmp_path / "frames.dcd", energy="dw4")(Context(Rng(0)))
    (tmp_path / "cut.xtc").write_bytes(b"no trajectory")
    with pytest.raises(DataError, match="cannot be read as a trajectory"):
        Study(data=tmp_path / "cut.xtc", energy="alanine-vacuum")(Context(Rng(0)))
    assert found.scores["verdict"] == "refuse"
    assert float(str(found.scores["off_centre"])) < 1e-6


@pytest.mark.slow
def test_a_small_benchmark_keeps_its_promises() -> None:
    """Every tenth strength and 30 sound cases: more than 4 alarms at 3 % happen with probability 2e-3."""
    found = bench(1, 30, Context(Rng(100)), every=10)
    assert len(found.planted) == 18 * 2
    assert found.caught >= 0.9
    assert found.alarms <= 4 / 30
    assert 0.88 < found.covered < 1.0
