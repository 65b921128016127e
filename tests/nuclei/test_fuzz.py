"""Twelve thousand damaged tables: each reader gives the right answer or one clear error, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from posteriori.core.errors import PosterioriError
from posteriori.domains.nuclei.ame import parse_masses
from posteriori.domains.nuclei.measurements import parse_measurements
from posteriori.domains.nuclei.model_files import o2_reader, parse_own_table, parse_text
from posteriori.domains.nuclei.nubase import parse_ground_states
from posteriori.domains.nuclei.reactions import parse_reactions

SNIPPETS = Path(__file__).parent / "snippets"
Read = Callable[[str], pd.DataFrame]

MODEL_TEXT = "Z N M\r50 82 -76.55\r50 83 -70.87\r82 126 -21.75\r92 146 47.31\r"
MODEL_CSV = "Z,N,mass_excess [MeV],Mexp\n50,82,-76.55,-76.5\n50,83,-70.87,0\n82,126,-21.75,1\n92,146,47.31,2\n"
BARE_CSV = "Z,N,binding_energy [MeV]\n50,82,1102.7\n82,126,1635.9\n"
MASSES_CSV = "Z,N,mass_excess [keV],sigma [keV]\n50,82,-76546.554,1.976\n82,126,-21748.519,1.148\n"

READERS: dict[str, tuple[str, Read, int]] = {
    **{
        f"ame{year % 100:02d}": (f"ame{year % 100:02d}.txt", lambda text, year=year: parse_masses(text, year), 600)
        for year in (1983, 1993, 1995, 2003, 2012, 2016, 2020)
    },
    **{
        f"rct{part}-{year % 100}": (
            f"rct{part}-{year % 100}.txt",
            lambda text, year=year: parse_reactions(text, year),
            400,
        )
        for part in (1, 2)
        for year in (1983, 1995, 2016, 2020)
    },
    **{
        f"nubase{year % 100:02d}": (
            f"nubase{year % 100:02d}.txt",
            lambda text, year=year: parse_ground_states(text, year),
            400,
        )
        for year in (1997, 2003, 2012, 2016, 2020)
    },
    "text": (MODEL_TEXT, parse_text, 800),
    "csv": (MODEL_CSV, parse_own_table, 600),
    "bare": (BARE_CSV, parse_own_table, 400),
    "own": (MASSES_CSV, parse_measurements, 800),
}


def test_there_are_more_than_ten_thousand() -> None:
    assert sum(count for _, _, count in READERS.values()) + 300 >= 10_000


@pytest.mark.parametrize("name", READERS)
def test_damaged_text(name: str) -> None:
    source, read, count = READERS[name]
    text = source if "\r" in source or "\n" in source else (SNIPPETS / source).read_text(encoding="ascii")
    sound = read(text)
    dice = random.Random(name)
    refused: list[str] = []
    for _ in range(count):
        damaged = damage(text, dice, dice.choice([1, 1, 1, 2, 5]))
        try:
            table = read(damaged)
        except PosterioriError as error:
            refused.append(str(error))
            continue
        check(table)
        assert len(table) <= 2 * len(sound) + 12
    assert len(refused) > count / 5
    assert all(len(message) > 40 for message in refused)


@pytest.mark.parametrize("year", [1983, 1993, 1995, 2003, 2012, 2016, 2020])
def test_one_wrong_character_never_changes_an_evaluated_mass(year: int) -> None:
    """Each row prints its mass twice, so a damaged one is refused, dropped with its line, or right to its rounding."""
    text = (SNIPPETS / f"ame{year % 100:02d}.txt").read_text(encoding="ascii")
    sound = parse_masses(text, year).set_index(["Z", "N"])
    dice = random.Random(year)
    for _ in range(300):
        at = dice.randrange(text.index("\n"), len(text))
        damaged = text[:at] + dice.choice("0123456789.#- *") + text[at + 1 :]
        try:
            table = parse_masses(damaged, year).set_index(["Z", "N"])
        except PosterioriError:
            continue
        assert set(table.index) <= set(sound.index)
        true = sound.loc[table.index]
        rounding = np.where(true["measured"], 0.2, 4.0)
        assert (np.abs(table["mass_excess"] - true["mass_excess"]) <= rounding).all()
        assert (np.abs(table["sigma"] - true["sigma"]) <= rounding + 0.03 * true["sigma"]).all()


def test_damaged_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "model.o2"
    with h5py.File(path, "w") as file:
        for name, values in {"Z": [50.0, 82], "A": [132.0, 208], "WS4": [-76.5, -21.7]}.items():
            file[f"acol/data/{name}"] = np.array(values)
    sound = path.read_bytes()
    dice = random.Random("hdf5")
    for _ in range(300):
        damaged = bytearray(sound[: dice.choice([len(sound)] * 4 + [dice.randrange(len(sound))])])
        for _ in range(dice.choice([1, 3, 30])):
            if damaged:
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            check(o2_reader("WS4")(path))
        except PosterioriError:
            continue


def check(table: pd.DataFrame) -> None:
    """What every answer must be: possible nuclei, finite energies, no negative sigma."""
    assert len(table) > 0
    assert (table[["Z", "N"]] >= 0).all(axis=None)
    if "quantity" not in table:
        assert not table.duplicated(["Z", "N"]).any()
    for column in ("mass_excess", "sigma", "energy"):
        if column in table:
            values = table[column].dropna().to_numpy(dtype=float) if "binding" in table else table[column].to_numpy()
            assert np.isfinite(values).all()
    if "sigma" in table:
        assert (table["sigma"].dropna() >= 0).all()


def damage(text: str, dice: random.Random, times: int) -> str:
    """The text with ``times`` injuries of random kinds."""
    for _ in range(times):
        text = dice.choice(INJURIES)(text, dice)
    return text


def _replace(text: str, dice: random.Random) -> str:
    at = dice.randrange(max(len(text), 1))
    return text[:at] + dice.choice("0123456789.#-+eE,;[] \t\n\r*<>~?§٣\0\"'nNaZ_") + text[at + 1 :]


def _insert(text: str, dice: random.Random) -> str:
    at = dice.randrange(len(text) + 1)
    return text[:at] + dice.choice(["nan", "inf", "1e999", "-", "#", " ", ",", "\n", "999999", "²", "1_0"]) + text[at:]


def _delete(text: str, dice: random.Random) -> str:
    at = dice.randrange(len(text) + 1)
    return text[:at] + text[at + dice.choice([1, 1, 2, 10]) :]


def _cut(text: str, dice: random.Random) -> str:
    return text[: dice.randrange(len(text) + 1)]


def _repeat_line(text: str, dice: random.Random) -> str:
    lines = text.splitlines(keepends=True) or [""]
    at = dice.randrange(len(lines))
    return "".join([*lines[: at + 1], *lines[at:]])


def _drop_line(text: str, dice: random.Random) -> str:
    lines = text.splitlines(keepends=True) or [""]
    at = dice.randrange(len(lines))
    return "".join(lines[:at] + lines[at + 1 :])


def _swap_words(text: str, dice: random.Random) -> str:
    words = text.split(" ")
    a, b = dice.randrange(len(words)), dice.randrange(len(words))
    words[a], words[b] = words[b], words[a]
    return " ".join(words)


INJURIES = (_replace, _replace, _insert, _delete, _cut, _repeat_line, _drop_line, _swap_words)
