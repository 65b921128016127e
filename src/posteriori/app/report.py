"""One offline HTML file about one run: audit, pictures, tables, provenance, references."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from posteriori.app.options import short
from posteriori.core.errors import StoreError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from posteriori.app.record import Record
    from posteriori.audit.report import Report

LARGEST = 2_000_000  # [bytes]
RESOLUTIONS = (110, 80, 55)  # dots per inch, tried in turn until the file is small enough
ROWS = 15  # of a table, the rest is in its file
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.figsize": (8.0, 4.6),
    "font.size": 10.0,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.hashsalt": "posteriori",
}


@dataclass(frozen=True)
class Page:
    """What the report shows; ``about`` is the study's docstring."""

    record: Record
    about: str
    report: Report
    scores: Mapping[str, Any]
    pictures: Mapping[str, Callable[[], Figure]]
    tables: Mapping[str, DataFrame]

    def html(self) -> str:
        """The whole file; raises ``StoreError`` where pictures keep it above 2 MB at the lowest resolution."""
        import matplotlib as mpl

        with mpl.rc_context(STYLE):
            figures = [(caption, draw()) for caption, draw in self.pictures.items()]
            drawings = [_svg(figure) for _, figure in figures]
            for resolution in RESOLUTIONS:
                images = [min(drawing, _png(fig, resolution), key=len) for (_, fig), drawing in zip(figures, drawings)]
                page = self._page([(caption, image) for (caption, _), image in zip(figures, images)])
                if len(page.encode()) <= LARGEST:
                    return page
        raise StoreError(
            f"the report of {self.record.study} would be {len(page)} bytes, {LARGEST} at most; draw fewer pictures."
        )

    def _page(self, pictures: Sequence[tuple[str, str]]) -> str:
        import jinja2

        loader = jinja2.PackageLoader("posteriori.app")
        environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
        environment.filters["paragraphs"] = lambda text: [part.replace("\n", " ") for part in text.split("\n\n")]
        environment.filters["number"] = short
        audited = {figure.name for figure in self.report.figures}
        groups, rest = _grouped({name: score for name, score in self.scores.items() if name not in audited})
        return environment.get_template("report.html.j2").render(
            about=self.about,
            report=self.report,
            groups=groups,
            scores=rest,
            pictures=pictures,
            tables={name: _rows(frame) for name, frame in self.tables.items()},
            record=self.record,
        )


def _svg(figure: Figure) -> str:
    """``figure`` as a data address of lines and letters."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"


def _png(figure: Figure, resolution: int) -> str:
    """``figure`` as a data address of pixels, ``resolution`` an inch."""
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor="white", dpi=resolution, pil_kwargs={"optimize": True})
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _rows(frame: DataFrame) -> dict[str, Any]:
    """The head of a table as text, and how many rows there are."""
    head = [[short(value) for value in row] for row in frame.head(ROWS).itertuples(index=False)]
    return {"columns": list(map(str, frame.columns)), "rows": head, "total": len(frame)}


def _grouped(scores: Mapping[str, Any]) -> tuple[dict[tuple[str, ...], dict[str, list[Any]]], dict[str, Any]]:
    """Scores ``row.column`` as tables, one for each set of columns that rows share; and the scores without a dot."""
    rows: dict[str, dict[str, Any]] = {}
    for name, score in _flat(scores):
        row, _, column = name.rpartition(".")
        rows.setdefault(row, {})[column] = score
    rest = rows.pop("", {})
    tables: dict[tuple[str, ...], dict[str, list[Any]]] = {}
    for name, columns in rows.items():
        tables.setdefault(tuple(columns), {})[name] = list(columns.values())
    return tables, rest


def _flat(scores: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every score of nested dictionaries under its dotted name."""
    for name, score in scores.items():
        if isinstance(score, Mapping):
            yield from _flat(score, f"{prefix}{name}.")
        else:
            yield prefix + name, score
