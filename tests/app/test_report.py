"""The report is one file that opens offline, and can be read without a mouse and on paper."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas

from posteriori.app import report
from posteriori.app.record import Record
from posteriori.app.report import LARGEST, Page
from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.errors import StoreError

RECORD = Record(
    study="fruit/apple-mass",
    command="posteriori run fruit/apple-mass",
    options={"readings": "100"},
    seed=3,
    device="cpu",
    workers=1,
    threads=1,
    started="2026-01-02T03:04:05+00:00",
    seconds={"wall": 1.5, "cpu": 1.25},
    versions={"posteriori": "0.1.0"},
    data={"apple.csv": "ab12"},
    references=("Newton & Leibniz (1687).",),
    results={"readings.csv": "cd34"},
)
REPORT = Report(
    "Balance", (Figure("mean", 150.0, 0.5, "g", Gate(140, 160)), Figure("bias", 9.0, 0.5, "g", Gate(-1, 1)))
)


def lines() -> Canvas:
    canvas = Canvas()
    canvas.add_subplot().plot(range(5))
    return canvas


def noise() -> Canvas:
    canvas = Canvas(figsize=(3, 2))
    canvas.add_subplot().imshow(
        np.random.default_rng(0).normal(size=(220, 330)), interpolation="nearest", aspect="auto"
    )
    return canvas


def page(
    pictures: dict[str, Callable[[], Canvas]] | None = None,
    tables: dict[str, pd.DataFrame] | None = None,
    scores: dict[str, object] | None = None,
) -> str:
    return Page(
        RECORD, "Weigh <an> apple.\n\nTwice\nif need be.", REPORT, scores or {}, pictures or {}, tables or {}
    ).html()


class Tags(HTMLParser):
    """Every tag with its attributes, and whether each that was opened was closed."""

    EMPTY = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def test_nothing_comes_from_outside() -> None:
    text = page({"A line": lines})
    for inside in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", text):
        text += base64.b64decode(inside).decode()
    assert not re.findall(r"(?:src|href)=[\"'](?!#|data:)", text)
    assert not re.search(r"<script|<link|<iframe|@import|url\((?!#|data:)", text)


def test_every_tag_closes_and_every_link_leads_somewhere() -> None:
    tags = Tags(page({"A line": lines}, {"readings": pd.DataFrame({"a": [1]})}))
    assert tags.open == []
    places = {attributes["id"] for _, attributes in tags.tags if "id" in attributes}
    assert {"#" + str(place) for place in places} >= {str(link["href"]) for link in tags.named("a")}


def test_it_can_be_read_with_a_keyboard_and_a_screen_reader() -> None:
    tags = Tags(page({"A <line> & more": lines}, {"readings": pd.DataFrame({"a": [1]})}))
    assert tags.named("html") == [{"lang": "en"}]
    assert [image["alt"] for image in tags.named("img")] == ["A <line> & more"]
    assert tags.named("a")[0]["class"] == "skip"
    for scrolled in [attributes for attributes in tags.named("div") if attributes.get("class") == "scroll"]:
        assert scrolled["tabindex"] == "0"
        assert scrolled["role"] == "region"
        assert scrolled["aria-label"]


def test_it_says_what_passed_and_how_it_was_made() -> None:
    text = page()
    for said in (
        "Weigh &lt;an&gt; apple.",
        "Twice if need be.",
        "1 of 2 gates failed",
        "150.00 ± 0.50 g",
        "FAIL",
        "posteriori run fruit/apple-mass",
        "2026-01-02 03:04 UTC",
        "ab12",
        "cd34",
        "Newton &amp; Leibniz (1687).",
    ):
        assert said in text


def test_the_smaller_of_svg_and_png_is_kept() -> None:
    assert "data:image/svg+xml" in page({"A line": lines})
    assert "data:image/png" in page({"Noise": noise})


def test_the_file_stays_small_by_lower_resolution_and_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LARGEST == 2_000_000
    free = len(page({"Noise": noise}).encode())
    monkeypatch.setattr(report, "LARGEST", free - 1)
    assert len(page({"Noise": noise}).encode()) < 0.8 * free
    monkeypatch.setattr(report, "LARGEST", 20_000)
    with pytest.raises(StoreError, match="draw fewer pictures"):
        page({"Noise": noise})


def test_long_tables_are_cut_and_say_so() -> None:
    text = page(tables={"readings": pd.DataFrame({"mass [g]": np.arange(40) + 0.125})})
    assert "14.12" in text
    assert "15.12" not in text
    assert "The first 15 of 40 rows" in text
    assert "readings.csv" in text


def test_dotted_and_nested_scores_become_tables_and_audited_ones_are_not_said_twice() -> None:
    text = page(scores={"S_n.rms": 1.0, "S_n.crps": 2.0, "S_p": {"rms": 3.0, "crps": 4.0}, "n": 5, "mean": 150.0})
    rows = re.findall(r'<tr><th scope="row">(S_.)</th><td>(\d)</td><td>(\d)</td></tr>', text)
    assert rows == [("S_n", "1", "2"), ("S_p", "3", "4")]
    assert "<dt>n</dt><dd>5</dd>" in text
    assert "<dt>mean</dt>" not in text


def test_the_same_run_gives_the_same_file(tmp_path: Path) -> None:
    assert page({"A line": lines}) == page({"A line": lines})
