"""A report keeps figures, judges them by their gates and renders them."""

from __future__ import annotations

import json
import math

import pytest

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.errors import DataError, OptionError

REPORT = Report(
    "nuclei <masses>",
    (
        Figure("coverage68", 0.6837, 0.0213, gate=Gate(0.60, 0.76)),
        Figure("rms", 185.3, 12.4, "keV", Gate(high=180), note="71 nuclei & more"),
        Figure("cases", 71),
    ),
)


def test_text_shows_value_error_gate_and_verdict() -> None:
    lines = REPORT.text().splitlines()
    assert lines[0] == "nuclei <masses>"
    assert lines[1].split("  ")[1:]
    assert "0.684 ± 0.021" in lines[1]
    assert "[0.6, 0.76]" in lines[1]
    assert "pass" in lines[1]
    assert "185 ± 12 keV" in lines[2]
    assert "<= 180" in lines[2]
    assert "FAIL" in lines[2]
    assert lines[1].index("[0.6") == lines[2].index("<= 180")


def test_rounding_follows_the_error_down_to_six_digits() -> None:
    assert Figure("a", 40.7312, 1.36).measured == "40.7 ± 1.4"
    assert Figure("a", 2.04771411, 2e-17).measured == "2.04771 ± 0.00000"
    assert Figure("a", 123456.7, 0.0).measured == "123457 ± 0"
    assert Figure("a", 0.0, 0.0).measured == "0.0000 ± 0.0000"
    assert Figure("n", 71).measured == "71"
    assert Figure("n", 7_654_321).measured == "7654321"


def test_a_report_passes_when_every_gate_holds() -> None:
    assert not REPORT.passed
    assert [f.name for f in REPORT.failed] == ["rms"]
    assert REPORT.gated({"rms": Gate(high=200)}).passed
    assert Report("empty").passed
    assert Report("empty").text() == "empty"
    assert REPORT["cases"].passed is None


def test_json_is_strict_and_returns_the_same_report() -> None:
    infinite = REPORT + Report("", (Figure("log_score", math.inf, math.inf),))
    text = json.dumps(infinite.json(), allow_nan=False)
    assert Report.from_json(json.loads(text)) == infinite


def test_html_escapes_every_text() -> None:
    page = REPORT.html()
    assert "nuclei &lt;masses&gt;" in page
    assert "71 nuclei &amp; more" in page
    assert "<masses>" not in page


def test_reports_join_under_prefixes() -> None:
    joined = REPORT.under("S_n") + REPORT.under("S_p")
    assert joined["S_p.rms"].value == 185.3
    assert len(joined) == 6
    assert "rms" not in joined
    with pytest.raises(DataError, match="two figures named"):
        REPORT + REPORT


def test_bad_figures_and_gates_are_refused() -> None:
    with pytest.raises(DataError, match="NaN"):
        Figure("rms", math.nan)
    with pytest.raises(DataError, match="standard error"):
        Figure("rms", 1.0, -1.0)
    with pytest.raises(OptionError, match="empty"):
        Gate(2, 1)
    with pytest.raises(OptionError, match="no figure 'crps'"):
        REPORT["crps"]
    with pytest.raises(OptionError, match="no figure 'crps'"):
        REPORT.gated({"crps": Gate(high=1)})
