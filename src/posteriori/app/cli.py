"""The command line: ``posteriori list | show | run | verify | cite``.

Exit codes: 0 done, 1 an audit gate failed or a repeated run differs, 2 bad input, 70 a defect, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posteriori import app
from posteriori.app import catalogue, options
from posteriori.app.progress import Bars
from posteriori.app.record import Record
from posteriori.core.errors import OptionError, PosterioriError

if TYPE_CHECKING:
    from pandas import DataFrame

    from posteriori.app.runner import Finished

FAILED, BAD_INPUT, DEFECT, INTERRUPTED = 1, 2, 70, 130
ROWS = 10  # of a table, on a terminal

commands = typer.Typer(
    help="Known physics, a learned prior and sparse noisy data: a calibrated posterior and a decision.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line and turn what goes wrong into a message and an exit code."""
    try:
        commands(prog_name="posteriori")
    except PosterioriError as problem:
        _say(f"posteriori: {problem}")
        code = BAD_INPUT
    except Exception:
        traceback.print_exc()
        _say("posteriori: this is a defect of posteriori, not of the input; please report it with the lines above.")
        code = DEFECT
    else:
        return
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        print(metadata.version("posteriori"))
        raise typer.Exit


@commands.callback()
def _top(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@commands.command("list")
def list_studies() -> None:
    """List the studies, one a line."""
    found = catalogue.studies()
    width = max(map(len, found), default=0)
    for entry in found.values():
        print(f"{entry.name:{width}}  {entry.summary}")


@commands.command()
def show(study: str) -> None:
    """Show what a study does, and its options with their defaults."""
    entry = catalogue.find(study)
    print(f"{entry.name}\n\n{entry.about}\n")
    print(f"posteriori run {entry.name}" + "".join(f" {o.name}={o.default}" for o in entry.options) + "\n")
    for option in entry.options:
        print(f"  {option.name}={option.default}  ({option.kind})\n      {option.help}")


@commands.command()
def run(
    study: str,
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="See `posteriori show`.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The seed of everything random; 0 if not given.")] = None,
    out: Annotated[Path | None, typer.Option(help="The new folder; runs/STUDY/TIME if not given.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The study's small variant, where it has one.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON and nothing else.")] = False,
    device: Annotated[str, typer.Option(help="Where tensors live.")] = "cpu",
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the work; they change no result.")] = 1,
) -> None:
    """Run a study; its folder gets config.json, scores.json, run.nc, tables and report.html."""
    entry = catalogue.find(study)
    words, seed = _take_seed([*(settings or []), *(["quick=true"] if quick else [])], seed)
    given = options.assignments(words, [option.name for option in entry.options], entry.name)
    folder = out or Path("runs") / entry.name / f"{datetime.now():%Y%m%d-%H%M%S-%f}"
    with _interruptible(f"{folder} was not written; the same command resumes from the parts that were finished"):
        job = app.runner.Job.of(entry.name, given, seed, device, workers)
        bars = Bars()
        with bars.display:
            finished = app.runner.run(job, folder, bars)
    if as_json:
        print(json.dumps(finished.scores))
    else:
        _print(finished)
    if not finished.outcome.report.passed:
        failed = ", ".join(figure.name for figure in finished.outcome.report.failed)
        _say(f"posteriori: the audit failed at {failed}.")
        raise typer.Exit(FAILED)


@commands.command()
def verify(folder: Path) -> None:
    """Run what FOLDER holds again and compare scores and arrays; exit code 1 where they differ."""
    bars = Bars()
    with _interruptible(f"{folder} is as it was"), bars.display:
        differences = app.verification.verify(folder, bars)
    if differences:
        print("\n".join(differences))
        raise typer.Exit(FAILED)
    print(f"{folder} repeats: the same scores and the same arrays.")


@commands.command()
def cite(folder: Path) -> None:
    """Print the references of what the run in FOLDER used."""
    for reference in Record.load(folder).references:
        print(reference)


@contextmanager
def _interruptible(state: str) -> Iterator[None]:
    """Turn Ctrl-C into a line that says how things stand, and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        _say(f"posteriori: interrupted; {state}.")
        raise typer.Exit(INTERRUPTED) from None


def _take_seed(words: list[str], seed: int | None) -> tuple[list[str], int]:
    """``words`` without ``seed=N``, which says the same as ``--seed N``, and the seed."""
    named = [word.removeprefix("seed=") for word in words if word.startswith("seed=")]
    wanted = {options.parse("seed", text, int) for text in named} | ({seed} if seed is not None else set())
    if len(wanted) > 1 or any(number < 0 for number in wanted):
        raise OptionError(f"seeds {sorted(wanted)} were given; give one whole number >= 0.")
    return [word for word in words if not word.startswith("seed=")], wanted.pop() if wanted else 0


def _print(finished: Finished) -> None:
    for name, frame in finished.outcome.tables.items():
        print(f"{name}\n{_head(frame)}\n")
    print(finished.outcome.report.text())
    named = {figure.name for figure in finished.outcome.report.figures}
    rest = {name: score for name, score in finished.scores.items() if name not in named}
    width = max(map(len, rest), default=0)
    print("Scores")
    for name, score in rest.items():
        print(f"  {name:{width}}  {options.short(score)}")
    print(f"\n{finished.folder / 'report.html'}")


def _head(frame: DataFrame) -> str:
    """The first rows of a table, and how many more there are."""
    text: str = frame.head(ROWS).to_string(index=False, float_format=options.short)
    more = len(frame) - ROWS
    return f"{text}\n… and {more} more rows" if more > 0 else text


def _say(text: str) -> None:
    print(text, file=sys.stderr)
