"""The figures asked of rankings, likely wrong masses and updates, all from one fit to AME2003."""

from __future__ import annotations

from pathlib import Path

import pytest

from posteriori.core.run import Context
from posteriori.core.store import Store
from posteriori.domains.nuclei.studies import next as next_study
from posteriori.domains.nuclei.studies import outliers, update

pytestmark = pytest.mark.slow
BASELINE = "dz10"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A store that keeps the fit for all three studies."""
    folder: Path = tmp_path_factory.mktemp("fits")
    return Context(store=Store(folder))


def test_half_of_the_wrong_masses_of_2003_are_flagged(context: Context) -> None:
    outcome = outliers.Study(baseline=BASELINE)(context)
    assert outcome.report.passed, outcome.report.text()
    assert outcome.scores["wrong"] == 31
    assert outcome.scores["learnt.flagged"] >= 0.5
    assert outcome.scores["learnt.false_alarms"] <= 0.05
    assert outcome.scores["at_5_percent.flagged"] > outcome.scores["at_5_percent_sigma.flagged"]


def test_greedy_needs_seven_tenths_of_random_and_less_than_largest_variance(context: Context) -> None:
    outcome = next_study.Study(baseline=BASELINE)(context)
    assert outcome.report.passed, outcome.report.text()
    assert outcome.scores["share_of_random"] <= 0.7
    assert outcome.scores["share_of_largest_variance"] < 1.0
    assert len(outcome.tables["next"]) == next_study.LISTED


def test_the_whole_chart_takes_one_mass_in_a_second(context: Context) -> None:
    outcome = update.Study(baseline=BASELINE)(context)
    assert outcome.report.passed, outcome.report.text()
    assert outcome.scores["n_nuclei"] >= 7000
    assert outcome.scores["neighbours_rms_after"] < outcome.scores["neighbours_rms_before"]
