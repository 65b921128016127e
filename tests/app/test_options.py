"""Text to typed options and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posteriori.app import options
from posteriori.core.errors import OptionError


@dataclass(frozen=True)
class Choices:
    whole: int = 1
    real: float = 0.5
    flag: bool = False
    text: str = "a"
    one_of: Literal["left", "right", 3] = "left"
    many: tuple[int, ...] = (1, 2)
    perhaps: float | None = None
    place: Path = Path()


@given(
    st.builds(
        Choices,
        whole=st.integers(),
        real=st.floats(allow_nan=False, allow_infinity=False),
        text=st.text(),
        many=st.lists(st.integers()).map(tuple),
        perhaps=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_what_is_spelled_is_read_back(choices: Choices) -> None:
    assert options.build(Choices, options.resolved(choices)) == choices


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "-3", -3),
        (float, "1e-3", 1e-3),
        (bool, "Yes", True),
        (bool, "0", False),
        (Literal["left", 3], "3", 3),
        (tuple[float, ...], "1, 2.5,", (1.0, 2.5)),
        (tuple[str, ...], "", ()),
        (float | None, "none", None),
        (int | float, "2.5", 2.5),
        (Path, "a/b", Path("a/b")),
    ],
)
def test_text_becomes_the_declared_type(kind: Any, text: str, value: object) -> None:
    parsed = options.parse("option", text, kind)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (int, "2.5", "option x='2.5' is not a whole number"),
        (float, "nan", "is not a finite number"),
        (float, "inf", "is not a finite number"),
        (bool, "maybe", "is not true or false"),
        (Literal["left", "right"], "lefft", "did you mean left"),
        (tuple[int, ...], "1,b", "option x='b' is not a whole number"),
        (float | None, "b", "is not a finite number or none"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(kind: Any, text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        options.parse("x", text, kind)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["wole=1"], "owner has no option 'wole'; did you mean whole"),
        (["zzz=1"], "there is flag, whole"),
        (["whole"], "written key=value"),
        (["whole=1", "whole=2"], "given twice"),
    ],
)
def test_wrong_words_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        options.assignments(words, ["whole", "flag"], "owner")


def test_a_value_may_hold_an_equals_sign() -> None:
    assert options.assignments(["text=a=b"], ["text"], "owner") == {"text": "a=b"}
