"""Studies are found because their file is there, and read without importing it."""

from __future__ import annotations

import sys

import pytest

from posteriori.app import catalogue
from posteriori.core.errors import OptionError

pytestmark = pytest.mark.usefixtures("fruit")


def test_a_study_is_found_by_its_file() -> None:
    entry = catalogue.studies()["fruit/apple-mass"]
    assert entry.module == "posteriori.domains.fruit.studies.apple_mass"
    assert entry.summary == "Weigh an apple on a noisy balance."
    assert "posteriori.domains.fruit.studies.apple_mass" not in sys.modules


def test_private_files_and_files_without_a_study_are_left_out() -> None:
    assert [name for name in catalogue.studies() if name.startswith("fruit/")] == ["fruit/apple-mass"]


def test_options_carry_type_default_and_help() -> None:
    options = {option.name: option for option in catalogue.find("fruit/apple-mass").options}
    assert list(options) == ["readings", "noise", "law", "limits", "tray", "quick", "fault"]
    assert options["noise"] == catalogue.Option("noise", "float", "2.0", "Standard deviation of one reading [g].")
    assert options["limits"].default == "0.0,300.0"
    assert options["tray"].default == "none"


def test_an_unknown_study_names_the_nearest() -> None:
    with pytest.raises(OptionError, match="did you mean fruit/apple-mass"):
        catalogue.find("fruit/aple-mas")


def test_every_study_of_the_package_documents_itself_and_its_options() -> None:
    for entry in catalogue.studies().values():
        assert entry.summary.endswith("."), f"{entry.name} needs a docstring that starts with a sentence"
        for option in entry.options:
            assert option.help, f"{entry.name} does not say what {option.name} does"
            assert option.name != "seed", f"{entry.name}: the seed belongs to the run"
