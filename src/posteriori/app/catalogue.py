"""The studies there are, read from their source without importing it."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import posteriori.domains
from posteriori.app.options import nearest, spell
from posteriori.core.errors import OptionError


@dataclass(frozen=True)
class Option:
    """One option of a study, as written in its source."""

    name: str
    kind: str
    default: str
    help: str


@dataclass(frozen=True)
class Entry:
    """One study: its name ``<domain>/<study>``, module, docstring and options."""

    name: str
    module: str
    about: str
    options: tuple[Option, ...]

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.about.partition("\n")[0]

    def load(self) -> type[Any]:
        """The study's class; this imports what it needs."""
        study: type[Any] = import_module(self.module).Study
        return study


def studies() -> dict[str, Entry]:
    """Every study by name, in order of names."""
    files = [path for root in posteriori.domains.__path__ for path in Path(root).glob("*/studies/[!_]*.py")]
    entries = [entry for path in files if (entry := _read(path)) is not None]
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}


def find(name: str) -> Entry:
    """The study called ``name``; raises ``OptionError`` with the nearest names where there is none."""
    found = studies()
    if name not in found:
        raise OptionError(f"there is no study {name!r}; {nearest(name, found)} `posteriori list` shows all.")
    return found[name]


def _read(path: Path) -> Entry | None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == "Study":
            domain, study = path.parent.parent.name, path.stem
            return Entry(
                name=f"{domain}/{study.replace('_', '-')}",
                module=f"posteriori.domains.{domain}.studies.{study}",
                about=ast.get_docstring(node) or "",
                options=tuple(_options(node)),
            )
    return None


def _options(study: ast.ClassDef) -> list[Option]:
    """The annotated fields of ``study`` with the string below each."""
    options = []
    for field, below in zip(study.body, [*study.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.value is not None:
            kind, default = ast.unparse(field.annotation), _spelled(field.value)
            if not kind.startswith("ClassVar"):
                options.append(Option(field.target.id, kind, default, _text(below)))
    return options


def _text(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return inspect.cleandoc(str(node.value.value))
    return ""


def _spelled(default: ast.expr) -> str:
    """A default as it is typed on the command line."""
    try:
        return spell(ast.literal_eval(default))
    except ValueError:
        return ast.unparse(default)
