"""A linear problem of the user's own: a matrix and data from files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import torch

from posteriori.core.algebra import Dense
from posteriori.core.errors import DataError
from posteriori.core.grid import Floats, widths
from posteriori.core.noise import Normal
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.domains.geophysics.illposed import Problem
from posteriori.learn.smoothness import Smoothness


def read_problem(operator: Path, data: Path, sigma: float | None, amplitude: float | None) -> Problem:
    """A matrix (``.npz`` with ``matrix`` and, of a section, ``z`` and ``x`` [m], or ``x`` alone; or a CSV of numbers)
    and data (a CSV with the column ``value`` and, where they are known, ``sigma``).

    ``sigma`` stands in for a missing column; ``amplitude`` is the unknown's standard deviation, else it is set so that
    the prior's data vary as those at hand. The prior's length is three cells along each axis.

    Raises:
        DataError: something is missing, of another size or not finite.
    """
    parts = _arrays(operator)
    matrix = _finite(parts["matrix"], "matrix", operator)
    if matrix.ndim != 2:
        raise DataError(f"matrix of {operator} has shape {matrix.shape}; data × cells is needed.")
    if not matrix.any():
        raise DataError(f"matrix of {operator} holds no number but zero: its data would tell nothing; save it again.")
    coords: dict[str, Any] = {dim: _finite(parts[dim], dim, operator) for dim in ("z", "x") if dim in parts}
    space = Space("unknown", coords or {"cell": np.arange(matrix.shape[1], dtype=float)})
    if space.size != matrix.shape[1]:
        raise DataError(f"{operator} has {matrix.shape[1]} columns, but its positions make {space.size} cells.")
    value, errors = _data(data, sigma)
    if len(value) != len(matrix):
        raise DataError(f"{data} has {len(value)} data, {operator} has {len(matrix)} rows; give one of each.")
    lengths = {dim: 3.0 * float(np.median(widths(space, dim))) for dim in space.dims}
    law = Dense(space, Space("datum", {"row": len(value)}), torch.from_numpy(matrix))
    unit = Smoothness(space, 1.0, lengths).requires_grad_(False)
    if amplitude is None:
        spread = unit.covariance.under(law).diagonal().mean().sqrt()
        amplitude = float(np.sqrt(np.mean(value**2))) / max(float(spread), 1e-300)
    prior = Smoothness(space, amplitude, lengths).requires_grad_(False)
    target = Inverse(law, prior, torch.from_numpy(value), Normal(torch.from_numpy(errors)))
    return Problem(target, None, "unknown", "datum", ("row", np.arange(len(value), dtype=float)))


def _arrays(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"there is no file {path}; operator= takes an .npz with an array matrix, or a CSV of numbers.")
    if path.suffix == ".npz":
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as held:
                found = {name: held[name] for name in held.files}
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise DataError(f"{path} is no .npz of plain arrays; write one with numpy.savez ({error}).") from error
        if "matrix" not in found:
            raise DataError(f"{path} holds {sorted(found)}; an array matrix (data × cells) is needed.")
        return found
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an empty file is refused for its size
            return {"matrix": np.loadtxt(path, delimiter=",", ndmin=2)}
    except ValueError as error:
        raise DataError(f"{path} is no CSV of numbers, one row a datum ({error}).") from error


def _data(path: Path, sigma: float | None) -> tuple[Floats, Floats]:
    if not path.is_file():
        raise DataError(f"there is no file {path}; data= takes a CSV with the columns value and sigma.")
    try:
        table = pd.read_csv(path)
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path} is no CSV ({error}).") from error
    if "value" not in table:
        raise DataError(f"{path} has the columns {list(table)}; value is needed, and sigma where it is known.")
    if "sigma" not in table and sigma is None:
        raise DataError(f"{path} has no column sigma; add it, or give sigma= (the standard deviation of the data).")
    value = _finite(table["value"], "value", path)
    errors = _finite(table["sigma"], "sigma", path) if "sigma" in table else np.full(len(value), sigma)
    return value, errors


def _finite(values: Any, name: str, path: Path) -> Floats:
    if np.iscomplexobj(values):
        raise DataError(f"{name} of {path} is complex; give real and imaginary parts as rows of their own.")
    try:
        array = np.array(values, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} of {path} is not all numbers ({error}).") from error
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise DataError(f"{name} of {path} is not finite at {where}; drop that row, or mend it.")
    return array
