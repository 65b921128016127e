"""Alignment by label, never by position: units, gaps, joined Spaces and every refusal."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from posteriori import Space
from posteriori.core.errors import DataError, ShapeError, UnitError
from posteriori.core.support import Positive


@st.composite
def shuffled(draw: st.DrawFn) -> tuple[Space, xr.DataArray, np.ndarray]:
    """A Space of two dims, values in its order, and the same values under shuffled labels and axes."""
    y = draw(st.lists(st.integers(-1000, 1000), min_size=1, max_size=6, unique=True))
    x = draw(st.lists(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=6, unique=True))
    space = Space("m", {"y": np.array(y) * 0.25, "x": x})
    values = np.arange(space.size, dtype=float).reshape(space.shape)
    rows, columns = draw(st.permutations(range(len(y)))), draw(st.permutations(range(len(x))))
    given_array = xr.DataArray(values, {"y": space.labels("y"), "x": space.labels("x")}, ("y", "x"))
    given_array = given_array.isel(y=list(rows), x=list(columns))
    return space, given_array.T if draw(st.booleans()) else given_array, values


@given(shuffled())
def test_any_order_of_labels_and_axes_gives_the_spaces_own(case: tuple[Space, xr.DataArray, np.ndarray]) -> None:
    space, array, values = case
    assert np.array_equal(space.align(array).numpy(), values)


@given(shuffled(), st.data())
def test_selecting_is_indexing_by_label(case: tuple[Space, xr.DataArray, np.ndarray], data: st.DataObject) -> None:
    space, array, _ = case
    chosen = data.draw(st.lists(st.sampled_from(list(space.labels("x"))), min_size=1, unique=True))
    part = space.select("x", chosen)
    assert np.array_equal(
        part.align(array).numpy(), array.transpose("y", "x").sel(y=space.labels("y"), x=chosen).values
    )


def test_label_and_align_undo_each_other() -> None:
    space = Space("m", {"t": np.array(["2020-01-01", "2020-01-03"], "M8[D]"), "x": 3}, "km")
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    back = space.align(space.label(x, {"draw": None})[:, ::-1])
    assert torch.equal(back, x)
    assert space.label(x, {"draw": None}).attrs["units"] == "km"


def test_extra_labels_are_left_out_and_extra_dims_come_first() -> None:
    space = Space("m", {"x": [3, 1]})
    array = xr.DataArray([[1.0, 2.0, 3.0]], {"x": [1, 2, 3], "problem": [9]}, ("problem", "x"))
    assert space.align(array).tolist() == [[3.0, 1.0]]


@pytest.mark.parametrize(("shift", "found"), [(0.0004, True), (0.0006, False)])
def test_float_labels_agree_to_a_thousandth_of_their_spacing(shift: float, found: bool) -> None:
    space = Space("m", {"x": np.array([0.0, 0.5, 1.0])})
    array = xr.DataArray([1.0, 2.0, 3.0], {"x": np.array([0.0, 0.5, 1.0]) + shift}, ("x",))
    if found:
        assert space.align(array).tolist() == [1.0, 2.0, 3.0]
    else:
        with pytest.raises(ShapeError, match="has no label"):
            space.align(array)


def test_two_cells_never_take_one_value() -> None:
    """The tolerance is that of the finer labels: a coarse array cannot serve a fine Space twice."""
    space = Space("m", {"x": np.array([0.0, 0.0005])})
    with pytest.raises(ShapeError, match=r"0\.0005"):
        space.align(xr.DataArray([1.0, 2.0], {"x": [0.0, 1.0]}, ("x",)))


def test_strings_kept_as_objects_by_pandas_are_strings() -> None:
    array = xr.DataArray(pd.Series([2.0, 1.0], index=pd.Index(["b", "a"], name="nuclide")))
    assert Space("m", {"nuclide": ["a", "b"]}).align(array).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("dtype", [">f8", "i4", "f2", "f4"])
def test_any_numeric_layout_is_read(dtype: str) -> None:
    array = xr.DataArray(np.array([1, 2, 3], dtype), {"x": [0, 1, 2]}, ("x",))
    array.values.flags.writeable = False
    found = Space("m", {"x": 3}).align(array)
    assert found.tolist() == [1.0, 2.0, 3.0]
    assert found.dtype == (torch.float32 if dtype == "f4" else torch.float64)


def test_units_are_converted() -> None:
    array = xr.DataArray([1.0, 2.0], {"x": [0, 1]}, ("x",), attrs={"units": "MeV"})
    assert Space("mass", {"x": 2}, "keV").align(array).tolist() == pytest.approx([1000.0, 2000.0])
    gravity = xr.DataArray([3.0], {"x": [0]}, ("x",), attrs={"units": "mgal"})
    assert Space("g", {"x": 1}, "m/s**2").align(gravity).tolist() == pytest.approx([3e-5])


@pytest.mark.parametrize(("units", "wanted"), [("kg", "keV"), ("furlongs_of_beer", "keV"), ("degC", "kelvin")])
def test_units_that_do_not_fit_are_refused(units: str, wanted: str) -> None:
    array = xr.DataArray([1.0], {"x": [0]}, ("x",), attrs={"units": units})
    with pytest.raises(UnitError, match=units):
        Space("mass", {"x": 1}, wanted).align(array)


def test_a_value_that_is_not_finite_is_refused_by_its_label() -> None:
    space = Space("m", {"y": ["a", "b"], "x": [10, 20, 30]})
    values = np.ones((2, 3))
    values[1, 2] = np.nan
    with pytest.raises(DataError, match=r"\{'y': 'b', 'x': 30\}.*index \(1, 2\); 1 such"):
        space.align(xr.DataArray(values, space.label(torch.ones(2, 3)).coords, ("y", "x")), "travel times")


def test_a_gap_is_a_mask() -> None:
    space = Space("m", {"x": 3}, mask=torch.tensor([True, False, True]))
    array = xr.DataArray([1.0, np.nan, 3.0], {"x": [0, 1, 2]}, ("x",))
    assert space.align(array).tolist() == [1.0, 0.0, 3.0]
    assert np.isnan(space.label(torch.tensor([1.0, 2.0, 3.0])).values).tolist() == [False, True, False]
    assert space.select("x", [2, 1]).mask is not None
    assert space.select("x", [2, 1]).mask.tolist() == [True, False]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Space("m", {"x": [1, 2, 1]}), "stands 2 times"),
        (lambda: Space("m", {"x": [1.0, np.nan]}), "label 1 of m.x is not finite"),
        (lambda: Space("m", {"x": np.zeros((2, 2))}), "one axis is needed"),
        (lambda: Space("m", {"x": 2}, mask=torch.ones(3, dtype=torch.bool)), "mask"),
        (lambda: Space("m", {"x": 2}, extra={"Z": ("y", np.arange(2))}), "must run along one"),
        (lambda: Space("m", {"x": 2}).index("x", [7]), "no label"),
        (lambda: Space("m", {"x": 2}).index("y", [0]), "not 'y'"),
        (lambda: Space("m", {"x": [0.0, 1.0]}).index("x", [float("nan")]), "no label"),
        (lambda: Space("m", {"x": ["a"]}).index("x", [1.0]), "the same type"),
        (lambda: Space("m", {"x": 2}).align(xr.DataArray([1.0, 2.0], {"y": [0, 1]}, ("y",))), r"lacks \['x'\]"),
        (lambda: Space("m", {"x": 2}).align(xr.DataArray([1.0, 2.0], dims=("x",))), "assign_coords"),
        (lambda: Space("m", {"x": 2}).align(xr.DataArray([1.0], {"x": [0]}, ("x",))), "no label"),
        (lambda: Space("m", {"x": 1}).align(xr.DataArray([1.0, 2.0], {"x": [0, 0]}, ("x",))), "stands 2 times"),
        (lambda: Space("m", {"x": 2}).check(torch.ones(3)), "does not end in"),
    ],
)
def test_what_does_not_fit_is_refused(make: object, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        make()  # type: ignore[operator]


def test_an_array_without_labels_is_refused() -> None:
    with pytest.raises(DataError, match="without labels"):
        Space("m", {"x": 2}).align(np.ones(2))  # type: ignore[arg-type]


def test_joined_spaces_split_label_and_align() -> None:
    wave = Space("w", {"x": [0, 1, 2]}, "s", mask=torch.tensor([True, False, True]))
    both = Space.of(wave=wave, gravity=Space("g", {"station": ["a", "b"]}, "mgal", Positive()))
    assert both.size == 5
    assert both.mask is not None
    assert both.mask.tolist() == [True, False, True, True, True]
    x = torch.arange(5.0, dtype=torch.float64)
    assert {k: v.tolist() for k, v in both.split(x).items()} == {"wave": [0.0, 1.0, 2.0], "gravity": [3.0, 4.0]}
    dataset = both.dataset(x)
    assert dataset["gravity"].attrs["units"] == "mgal"
    dataset["gravity"] = dataset["gravity"][::-1] * 1e-5
    dataset["gravity"].attrs["units"] = "m/s**2"
    assert both.align(dataset).tolist() == pytest.approx([0.0, 0.0, 2.0, 3.0, 4.0])
    with pytest.raises(ShapeError, match="lacks 'gravity'"):
        both.align(dataset[["wave"]])


def test_parts_may_use_one_dim_with_other_labels() -> None:
    both = Space.of(near=Space("a", {"x": [0, 1]}), far=Space("b", {"x": [10, 20, 30]}))
    x = torch.arange(5.0, dtype=torch.float64)
    assert torch.equal(both.align(both.dataset(x)), x)


def test_part_of_a_joined_space_is_flat() -> None:
    both = Space.of(a=Space("a", {"x": 2}), b=Space("b", {"x": 3}))
    part = both.select("element", ["b[1]", "a[0]"])
    assert part.parts == ()
    assert part.label(torch.tensor([1.0, 2.0])).sel(element="a[0]") == 2.0
