"""The study refuses what it cannot use, and runs through on the shipped weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.molecules.alanine import shipped
from posteriori.domains.molecules.studies.alanine import Study
from posteriori.domains.molecules.trajectories import read_trajectory


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (Study(temperature=0.0), "temperature"),
        (Study(draws=3), "draws"),
        (Study(frames=1), "frames"),
        (Study(solvent="obc1", retrain=True), "no implicit solvent"),
        (Study(system="one.file"), "two files"),
    ],
)
def test_options_are_checked(study: Study, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        study(Context(Rng(100)))


def test_files_are_checked() -> None:
    with pytest.raises(DataError, match="is no file"):
        Study(system="absent.prmtop,absent.inpcrd")(Context(Rng(100)))


@pytest.mark.slow
def test_it_runs_through(tmp_path: Path) -> None:
    """A few seconds of draws from the shipped weights; the surface is rougher than its gate asks for."""
    outcome = Study(draws=1000, surface_draws=20_000, particles=100)(Context(Rng(100)))
    scores = outcome.scores
    assert float(str(scores["ess_reverse"])) > 0.3
    assert float(str(scores["ess_forward"])) > 0.3
    assert float(str(scores["ess_corrected"])) > 0.6
    assert float(str(scores["surface_rmse_kT"])) < 0.6
    for draw in outcome.pictures.values():
        draw().savefig(tmp_path / "picture.png")
    outcome.files["alanine.xtc"](tmp_path / "alanine.xtc")
    assert len(read_trajectory(tmp_path / "alanine.xtc", shipped())) > 50
