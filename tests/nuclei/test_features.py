"""Features of nuclei: values worked out by hand, and the mirror symmetry that they must have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posteriori.core.errors import DataError
from posteriori.domains.nuclei.chart import chart, whole_chart
from posteriori.domains.nuclei.features import feature_table, features


def of(Z: int, N: int) -> dict[str, float]:
    return {name: float(column[0]) for name, column in feature_table(chart([Z], [N])).items()}


def test_a_doubly_magic_nucleus() -> None:
    """132Sn: Z = 50 and N = 82 both close a shell, so nothing is left over and P = 0."""
    tin = of(50, 82)
    assert (tin["A"], tin["excess"], tin["odd_N"], tin["odd_Z"], tin["pairing"]) == (132, 32, 0, 0, 1)
    assert tin["I"] == pytest.approx(32 / 132)
    assert tin["p_valence"] == tin["n_valence"] == tin["casten"] == 0
    assert (tin["p_shell"], tin["n_shell"]) == (4, 5)
    assert tin["p_closure"] == tin["n_closure"] == 1
    assert (tin["p_below"], tin["n_below"]) == (50 - 82, 82 - 126)


def test_a_nucleus_in_mid_shell() -> None:
    """156Gd: 64 - 50 = 14 valence protons, 92 - 82 = 10 valence neutrons, P = 140 / 24."""
    gd = of(64, 92)
    assert (gd["p_above"], gd["p_below"], gd["n_above"], gd["n_below"]) == (14, -18, 10, -34)
    assert (gd["p_nearest"], gd["n_nearest"]) == (14, 10)
    assert gd["casten"] == pytest.approx(140 / 24)


def test_holes_count_as_valence_and_are_signed() -> None:
    """206Hg: two proton holes below 82, a closed neutron shell; 205Tl: one hole, one neutron pair below 126."""
    assert of(80, 126)["p_nearest"] == -2
    assert of(80, 126)["casten"] == 0
    thallium = of(81, 124)
    assert (thallium["p_nearest"], thallium["n_nearest"]) == (-1, -2)
    assert thallium["casten"] == pytest.approx(2 / 3)


@given(st.integers(8, 81), st.integers(8, 81))
def test_a_mirror_exchanges_protons_and_neutrons(Z: int, N: int) -> None:
    """Below 82 the closures of both are the same, so (Z, N) → (N, Z) swaps their columns and turns I round."""
    here, there = of(Z, N), of(N, Z)
    for name, value in here.items():
        partner = {"p_": "n_", "n_": "p_"}.get(name[:2])
        other = (
            partner + name[2:] if partner else {"N": "Z", "Z": "N", "odd_N": "odd_Z", "odd_Z": "odd_N"}.get(name, name)
        )
        assert there[other] == pytest.approx(-value if name in ("I", "excess") else value)


@given(st.integers(8, 120), st.integers(8, 220))
def test_both_distances_span_the_shell(Z: int, N: int) -> None:
    nucleus = of(Z, N)
    for letter in "pn":
        above, below = nucleus[f"{letter}_above"], nucleus[f"{letter}_below"]
        assert above >= 0 > below
        assert nucleus[f"{letter}_valence"] == min(above, -below) == abs(nucleus[f"{letter}_nearest"])


def test_the_whole_chart_has_finite_distinct_features() -> None:
    x = features(whole_chart())
    assert np.isfinite(x.numpy()).all()
    assert len(np.unique(x[:, :2].numpy(), axis=0)) == len(x)


def test_nucleons_beyond_the_shells_are_refused() -> None:
    with pytest.raises(DataError, match="beyond the shells"):
        feature_table(chart([100], [310]))
