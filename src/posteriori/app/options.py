"""Options as text: ``key=value`` to the typed fields of a study, and back."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from posteriori.core.errors import OptionError

WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def assignments(words: Sequence[str], offered: Sequence[str], owner: str) -> dict[str, str]:
    """``key=value`` words as a dictionary; raises ``OptionError`` naming what ``owner`` offers."""
    given: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise OptionError(f"{word!r} is no option of {owner}; options are written key=value.")
        if name not in offered:
            raise OptionError(f"{owner} has no option {name!r}; {nearest(name, offered)}")
        if name in given:
            raise OptionError(f"option {name!r} is given twice, as {given[name]!r} and as {value!r}; keep one.")
        given[name] = value
    return given


def build(study: type[Any], given: Mapping[str, str]) -> Any:
    """An instance of the dataclass ``study`` with the options ``given`` as text, each parsed to its field's type."""
    hints = typing.get_type_hints(study)
    if unknown := [name for name in given if name not in hints]:
        raise OptionError(f"there is no option {unknown[0]!r}; {nearest(unknown[0], hints)}")
    return study(**{name: parse(name, text, hints[name]) for name, text in given.items()})


def parse(name: str, text: str, kind: Any) -> Any:
    """``text`` as a value of the type ``kind``; raises ``OptionError`` saying what the option takes."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _first(name, text, arguments)
    if origin is typing.Literal:
        return _literal(name, text, arguments)
    if origin is tuple:
        return tuple(parse(name, part.strip(), arguments[0]) for part in text.split(",") if part.strip())
    try:
        return _plain(text, kind)
    except (ValueError, KeyError):
        raise OptionError(f"option {name}={text!r} is not {describe(kind)}.") from None


def spell(value: object) -> str:
    """``value`` as the text that ``parse`` reads back."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(spell(part) for part in value)
    return str(value)


def nearest(name: str, offered: Iterable[str]) -> str:
    """The end of a sentence: what was probably meant, or else everything that is offered."""
    names = sorted(offered)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else f"there is {', '.join(names) or 'none'}."


def describe(kind: Any) -> str:
    """What an option of the type ``kind`` takes, in words."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(describe(argument) for argument in arguments)
    if typing.get_origin(kind) is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if typing.get_origin(kind) is tuple:
        return f"a comma-separated list, each {describe(arguments[0])}"
    words = {int: "a whole number", float: "a finite number", bool: "true or false", str: "text", Path: "a path"}
    return words.get(kind, "none")


def resolved(study: Any) -> dict[str, str]:
    """Every option of the instance ``study`` as text."""
    return {field.name: spell(getattr(study, field.name)) for field in dataclasses.fields(study)}


def _plain(text: str, kind: Any) -> Any:
    if kind is bool:
        return WORDS[text.lower()]
    if kind is types.NoneType:
        return {"none": None}[text.lower()]
    value = kind(text)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError
    return value


def _literal(name: str, text: str, offered: Sequence[Any]) -> Any:
    by_text = {spell(value): value for value in offered}
    if text not in by_text:
        raise OptionError(f"option {name}={text!r} is not offered; {nearest(text, by_text)}")
    return by_text[text]


def _first(name: str, text: str, kinds: Sequence[Any]) -> Any:
    """The value by the first of ``kinds`` that reads ``text``; None is tried first."""
    for kind in sorted(kinds, key=lambda kind: kind is not types.NoneType):
        try:
            return parse(name, text, kind)
        except OptionError:
            continue
    wanted = " or ".join(describe(kind) for kind in kinds)
    raise OptionError(f"option {name}={text!r} is not {wanted}.")


def short(value: Any) -> str:
    """A value for a reader: numbers to four digits, lists and dictionaries on one line, nothing as a dash."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {short(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(short, value))
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return "–" if value is None else str(value)
