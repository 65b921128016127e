"""Rebuild the tables that ship with ``posteriori.domains.nuclei`` from a folder of raw AME and NUBASE files.

python scripts/build_mass_table.py FOLDER [--into FOLDER]: the same inputs give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import pandas as pd

from posteriori.domains.nuclei import ame, boundness, data, nubase

TABLES = Path(__file__).parents[1] / "src/posteriori/domains/nuclei/tables"
MASS_FILES = {
    1995: "mass_exp.mas95",
    2003: "mass.mas03",
    2012: "mass.mas12",
    2016: "mass16.txt",
    2020: "mass.mas20",
}
NUBASE_FILES = {
    1997: "nubtab97.asc",
    2003: "nubtab03.asc",
    2012: "nubtab12.asc",
    2016: "nubase2016.txt",
    2020: "nubase_1.mas20",
}
LISTS = ((1995, 2003), (1995, 2020), (2003, 2020), (2012, 2020), (2016, 2020))


def main() -> None:
    """Read everything, then write the three tables; nothing is written if one input is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with the raw AME and NUBASE files")
    parser.add_argument("--into", type=Path, default=TABLES, help="where the tables go (default: the package)")
    arguments = parser.parse_args()
    masses = {year: ame.read_masses(arguments.folder / name, year) for year, name in MASS_FILES.items()}
    states = {year: nubase.read_ground_states(arguments.folder / name, year) for year, name in NUBASE_FILES.items()}
    written = {
        "masses.csv": mass_table(arguments.folder, masses),
        "ground_states.csv": state_table(arguments.folder, states),
        "new_since.csv": list_table(masses),
    }
    arguments.into.mkdir(parents=True, exist_ok=True)
    for name, text in written.items():
        partial = arguments.into / f"{name}.partial"
        partial.write_bytes(text.encode("ascii"))
        partial.replace(arguments.into / name)
        print(f"{arguments.into / name}: {len(text)} bytes")


def mass_table(folder: Path, masses: dict[int, pd.DataFrame]) -> str:
    """All evaluations as text, sorted by year, Z and N; each number is the shortest that reads back exactly."""
    lines = ["# Atomic mass excess [keV], sigma [keV] and whether it was measured (1) or extrapolated (0)."]
    lines += [f"# {data.citation(year)}; {source(folder / name)}" for year, name in MASS_FILES.items()]
    lines += ["year,Z,N,mass_excess,sigma,measured"]
    for year, table in masses.items():
        ordered = table.sort_values(data.KEY)
        columns = (ordered[name].tolist() for name in ("Z", "N", "mass_excess", "sigma", "measured"))
        for Z, N, excess, sigma, measured in zip(*columns, strict=True):
            lines.append(f"{year},{Z},{N},{shortest(excess)},{shortest(sigma)},{int(measured)}")
    return "\n".join(lines) + "\n"


def state_table(folder: Path, states: dict[int, pd.DataFrame]) -> str:
    """One line a nuclide, one cell an edition; an empty cell: not listed then."""
    lines = ["# Ground states: b(ound), u(nbound) or o(pen), then the half-life [s]:"]
    lines += ["# s(table), p(article-unstable), ? (not known), = (measured), > or < (limits), ~ (estimated)."]
    lines += [f"# {boundness.CITATIONS[year]}; {source(folder / name)}" for year, name in NUBASE_FILES.items()]
    lines += ["Z,N," + ",".join(map(str, states))]
    cells = {year: state_cells(table) for year, table in states.items()}
    for Z, N in sorted(set().union(*cells.values())):
        lines.append(f"{Z},{N}," + ",".join(cells[year].get((Z, N), "") for year in states))
    return "\n".join(lines) + "\n"


def state_cells(table: pd.DataFrame) -> dict[tuple[int, int], str]:
    """One cell a ground state."""
    columns = (table[name].tolist() for name in ("Z", "N", "binding", "half_life", "half_life_kind"))
    return {(Z, N): boundness.encode(*state) for Z, N, *state in zip(*columns, strict=True)}


def list_table(masses: dict[int, pd.DataFrame]) -> str:
    """The fixed lists of nuclei with Z, N >= 8 measured in one evaluation and not in an earlier one."""
    lines = ["# Nuclei with Z, N >= 8 that are measured in the test evaluation and not in the training one."]
    lines += ["train,test,Z,N"]
    known = {year: set(nuclides(table)) for year, table in masses.items()}
    for train, test in LISTS:
        lines += [f"{train},{test},{Z},{N}" for Z, N in sorted(known[test] - known[train])]
    return "\n".join(lines) + "\n"


def nuclides(table: pd.DataFrame) -> list[tuple[int, int]]:
    """Measured nuclides with Z, N >= 8."""
    chosen = table[table["measured"] & (table[data.KEY] >= data.SMALLEST).all(axis=1)]
    return list(chosen[data.KEY].itertuples(index=False, name=None))


def shortest(value: float) -> str:
    """The shortest decimal that reads back as the same number."""
    return repr(float(value)).removesuffix(".0")


def source(path: Path) -> str:
    """Name and hash of an input."""
    return f"{path.name} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


if __name__ == "__main__":
    main()
