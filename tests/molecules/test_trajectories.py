"""Trajectories go out and come back; what cannot be one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.domains.molecules.alanine import require_alanine, require_left, shipped
from posteriori.domains.molecules.topologies import read_molecule
from posteriori.domains.molecules.trajectories import read_trajectory, write_trajectory

MOLECULE = shipped()
FRAMES = MOLECULE.frame + 0.003 * Rng(1).normal((4, 22, 3))


@pytest.mark.parametrize(("suffix", "rounding"), [(".xtc", 6e-4), (".dcd", 1e-6), (".pdb", 6e-5)])
def test_there_and_back(suffix: str, rounding: float, tmp_path: Path) -> None:
    path = tmp_path / f"frames{suffix}"
    write_trajectory(path, MOLECULE, FRAMES)
    assert float((read_trajectory(path, MOLECULE) - FRAMES).abs().max()) < rounding


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="convert it"):
        read_trajectory(tmp_path / "frames.trr", MOLECULE)
    with pytest.raises(DataError, match="is no file"):
        read_trajectory(tmp_path / "absent.xtc", MOLECULE)
    for suffix in (".xtc", ".dcd"):
        broken = tmp_path / f"broken{suffix}"
        broken.write_bytes(b"no trajectory at all\n" * 3)
        with pytest.raises(DataError):
            read_trajectory(broken, MOLECULE)
    pdb = tmp_path / "short.pdb"
    write_trajectory(pdb, MOLECULE, FRAMES)
    lines = pdb.read_text().splitlines()
    pdb.write_text("\n".join(line for line in lines if " HH33 ACE" not in line) + "\n")
    with pytest.raises(DataError, match="22 atoms"):
        read_trajectory(pdb, MOLECULE)


def test_bad_frames_are_refused(tmp_path: Path) -> None:
    broken = FRAMES.clone()
    broken[2, 7, 1] = torch.nan
    with pytest.raises(DataError, match="atom 7 of frame 2"):
        write_trajectory(tmp_path / "x.pdb", MOLECULE, broken)
    with pytest.raises(DataError, match="unit"):
        write_trajectory(tmp_path / "x.pdb", MOLECULE, 10 * FRAMES)
    with pytest.raises(DataError, match="22 atoms"):
        write_trajectory(tmp_path / "x.pdb", MOLECULE, FRAMES[:, :21])
    assert not (tmp_path / "x.pdb").exists()


def test_systems_of_files(tmp_path: Path) -> None:
    xml, pdb = tmp_path / "system.xml", tmp_path / "frame.pdb"
    xml.write_text(MOLECULE.system)
    write_trajectory(pdb, MOLECULE, FRAMES[:1])
    found = read_molecule(f"{xml},{pdb}", implicit=False)
    require_alanine(found)
    assert found.elements == MOLECULE.elements
    with pytest.raises(OptionError, match="two files"):
        read_molecule(str(xml), implicit=False)
    with pytest.raises(DataError, match="is no file"):
        read_molecule(f"{tmp_path / 'absent.prmtop'},{pdb}", implicit=False)
    (tmp_path / "bad.prmtop").write_text("nothing")
    with pytest.raises(DataError, match="cannot be read"):
        read_molecule(f"{tmp_path / 'bad.prmtop'},{pdb}", implicit=False)


def test_the_mirror_image_is_refused() -> None:
    with pytest.raises(DataError, match="D-alanine"):
        require_left(MOLECULE.frame * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))


@pytest.mark.parametrize("implicit", [False, True])
def test_amber_files(implicit: bool, tmp_path: Path) -> None:
    place = Path(__file__).parents[2].parent / "shared/data/molecules/ala2/alanine-dipeptide-gbsa"
    if not place.is_dir():
        pytest.skip("the Amber files are not here")
    found = read_molecule(f"{place}/alanine-dipeptide.prmtop,{place}/alanine-dipeptide.crd", implicit)
    require_alanine(found)
