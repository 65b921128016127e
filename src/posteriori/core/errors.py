"""Every error the package raises on purpose; each says what was given, what is needed and the next step.

PosterioriError
├── DataError            a table, array or file that cannot be used as it is
│   ├── ShapeError       axes or labels that do not fit a Space
│   └── UnitError        a unit that cannot be converted
├── OptionError          an option, name or number outside what is offered
├── UnanswerableError    a method was asked a question that it cannot answer
├── LeakError            something has seen data that it must not have seen
├── MissingExtraError    an optional package is needed
├── MemoryBudgetError    the work would not fit in memory
└── StoreError           a result could not be written or read back
"""

from __future__ import annotations


class PosterioriError(Exception):
    """Something the caller can mend; the command line prints it and exits with code 2."""


class DataError(PosterioriError, ValueError):
    """A table, array or file cannot be used as it is."""


class ShapeError(DataError):
    """Axes or labels do not fit the Space they are meant for."""


class UnitError(DataError):
    """A unit is unknown or cannot be converted."""


class OptionError(PosterioriError, ValueError):
    """An option, name or number lies outside what is offered."""


class UnanswerableError(PosterioriError, TypeError):
    """A method was asked a question that it cannot answer."""


class LeakError(PosterioriError):
    """A model or baseline has seen data that it must not have seen."""


class MissingExtraError(PosterioriError, ImportError):
    """An optional package is needed; the message names the extra to install."""


class MemoryBudgetError(PosterioriError, MemoryError):
    """The work would not fit in memory; the message names the cheaper option."""


class StoreError(PosterioriError, OSError):
    """A result could not be written or read back."""
