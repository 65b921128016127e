"""What the documentation says is so: examples run, numbers agree, links lead somewhere, code blocks work."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
SCRIPTS = sorted((DOCS / "gallery").glob("*.py"))
SOLUTIONS = sorted((DOCS / "exercises/solutions").glob("*.py"))
SLOW = (
    "audited_rows",
    "ensemble_conformal",
    "hmc_banana",
    "laplace_or_hmc",
    "rare_tail",
    "small_fwi",
    "sounding",
    "traveltime_tomography",
)  # more than two seconds
STATED = re.compile(r"`(-?[\d.]+) ± ([\d.]+)`")
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    """A page or script as the repository calls it."""
    return path.relative_to(ROOT).as_posix()


def scripts() -> list[object]:
    """Every runnable example, the longer ones marked."""
    marked = [pytest.param(s, id=name(s), marks=[pytest.mark.slow] if s.stem in SLOW else []) for s in SCRIPTS]
    return [*marked, *(pytest.param(s, id=name(s)) for s in SOLUTIONS)]


def stated(script: Path) -> tuple[float, float]:
    """The last number of ``script`` and its range, as the documentation states them."""
    if script in SOLUTIONS:
        text = (DOCS / "exercises" / f"{script.stem}.md").read_text(encoding="utf-8").partition("**Check.**")[2]
    else:
        rows = (DOCS / "gallery/README.md").read_text(encoding="utf-8").splitlines()
        text = next(row for row in rows if f"({script.name})" in row)
    found = STATED.search(text)
    assert found, f"no page states what {script.name} prints last"
    return float(found[1]), float(found[2])


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder to work in, figures that open no window, and no table of the user's."""
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSTERIORI_DATA", raising=False)
    return tmp_path


@pytest.mark.parametrize("script", scripts())
def test_an_example_runs_and_prints_what_its_page_says(
    script: Path, alone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(script), *(["--out", str(alone)] if script in SCRIPTS else [])])
    runpy.run_path(str(script), run_name="__main__")
    plt.close("all")
    value, range_ = stated(script)
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert float(last.rpartition("= ")[2]) == pytest.approx(value, abs=range_ + 1e-12)
    pictures = list(alone.glob("*.png"))
    assert [picture.stem for picture in pictures] == ([script.stem] if script in SCRIPTS else [])
    assert all(picture.stat().st_size > 10_000 for picture in pictures)


def test_every_script_has_a_page_and_every_page_a_script() -> None:
    exercises = [page.stem for page in (DOCS / "exercises").glob("[0-9]*.md")]
    assert sorted(exercises) == [solution.stem for solution in SOLUTIONS]
    gallery = (DOCS / "gallery/README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\]\((\w+\.py)\)", gallery)) == [script.name for script in SCRIPTS]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    missing = [link for link in targets if not (page.parent / link.partition("#")[0]).exists()]
    assert missing == []


@pytest.mark.parametrize("page", [p for p in PAGES if FENCE.search(p.read_text(encoding="utf-8"))], ids=name)
def test_code_blocks_run_one_after_the_other(page: Path, alone: Path) -> None:
    """The ``python`` blocks of a page share one namespace; what is not to be run is fenced otherwise."""
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in FENCE.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        exec(compile("\n" * line + block[1], str(page), "exec"), namespace)
    plt.close("all")


@pytest.mark.parametrize("path", [*PAGES, *SCRIPTS, *SOLUTIONS], ids=name)
def test_the_documentation_is_finished_and_speaks_of_the_project_alone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    places = [f"/{folder}/" for folder in ("work", "home", "root", "tmp", "opt", "mnt")]
    unfinished = ("TODO", "FIXME", "XXX", "TBD", "lorem ipsum")
    assert [word for word in (*places, *unfinished) if word in text] == []
    assert not re.search(r"\bissue #?\d|\B#\d", text), "a number of an issue means nothing to a reader of the package"


def test_every_page_is_reached_from_the_map() -> None:
    seen: set[Path] = set()
    waiting = [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        links = [link.partition("#")[0] for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
        waiting += [(page.parent / link).resolve() for link in links if link.endswith(".md")]
    assert {page for page in PAGES if DOCS in page.parents} <= seen
