"""Mass formulae against published energies and fits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posteriori.core.errors import DataError, ShapeError
from posteriori.domains.nuclei.data import measured
from posteriori.physics.mass_conversions import (
    CONSTANTS,
    ame_binding_energy,
    atomic_mass,
    atomic_mass_excess_from_ame_binding,
    atomic_mass_excess_from_nuclear,
    atomic_mass_excess_from_nuclear_binding,
    electron_binding,
    nuclear_binding_energy,
    nuclear_mass_excess,
)
from posteriori.physics.mass_formulae import (
    DZ10_1996,
    DZ10_TERMS,
    SEMF5_TERMS,
    SEMF9_TERMS,
    duflo_zuker,
    duflo_zuker_columns,
    duflo_zuker_deformed,
    semf5,
    semf9,
)

# binding energies [MeV] printed by the authors' own program du_zu_10 of 1996
DZ10_ENERGIES = {
    "16O": (8, 8, 127.9038),
    "17F": (9, 8, 128.9865),
    "40Ca": (20, 20, 342.4863),
    "56Ni": (28, 28, 486.2069),
    "132Sn": (50, 82, 1102.3055),
    "164Dy": (66, 98, 1338.0399),
    "208Pb": (82, 126, 1637.2780),
    "238U": (92, 146, 1801.4999),
    "257Fm": (100, 157, 1908.4670),
}

nuclei = st.tuples(st.integers(1, 140), st.integers(1, 320))


@pytest.mark.parametrize(("Z", "N", "energy"), DZ10_ENERGIES.values(), ids=DZ10_ENERGIES)
def test_duflo_zuker_gives_the_energies_of_the_authors_program(Z: int, N: int, energy: float) -> None:
    assert duflo_zuker(Z, N) / 1e3 == pytest.approx(energy, abs=6e-5)


def test_duflo_zuker_misses_ame2020_by_611_keV_and_603_after_a_refit() -> None:
    table = measured(2020)
    Z, N = table["Z"].to_numpy(), table["N"].to_numpy()
    energy = ame_binding_energy(Z, N, table["mass_excess"])
    assert rms(duflo_zuker(Z, N) - energy) == pytest.approx(611, abs=0.5)
    columns = duflo_zuker_columns(Z, N, duflo_zuker_deformed(Z, N))
    fitted = np.linalg.lstsq(columns, energy)[0]
    published = [0.7040, 17.7335, 16.2247, 37.5318, 53.7717, 0.4737, 2.1571, 0.0210, 41.6246, 6.1742]
    np.testing.assert_allclose(fitted / 1e3, published, atol=6e-5)
    assert rms(columns @ fitted - energy) == pytest.approx(603, abs=0.5)


def test_least_squares_of_the_semi_empirical_formula_on_ame2020() -> None:
    table = measured(2020)
    Z, N = table["Z"].to_numpy(), table["N"].to_numpy()
    energy = ame_binding_energy(Z, N, table["mass_excess"])
    five = np.linalg.lstsq(semf5(Z, N), energy)[0]
    np.testing.assert_allclose(five / 1e3, [15.5657, 17.3407, 0.7052, 22.8792, 12.4185], atol=6e-5)
    assert rms(semf5(Z, N) @ five - energy) == pytest.approx(3078, abs=0.5)
    nine = np.linalg.lstsq(semf9(Z, N), energy)[0]
    assert rms(semf9(Z, N) @ nine - energy) == pytest.approx(2419, abs=0.5)


@given(st.lists(nuclei, min_size=1, max_size=8))
def test_columns_are_finite_and_treat_each_nucleus_alone(pairs: list[tuple[int, int]]) -> None:
    Z, N = np.array(pairs).T
    shapes = duflo_zuker_deformed(Z, N)
    for columns, terms in (
        (semf5(Z, N), SEMF5_TERMS),
        (semf9(Z, N), SEMF9_TERMS),
        (duflo_zuker_columns(Z, N, shapes), DZ10_TERMS),
    ):
        assert columns.shape == (len(pairs), len(terms))
        assert columns.dtype == np.float64
        assert np.isfinite(columns).all()
    assert not shapes[Z <= 50].any()
    np.testing.assert_allclose(duflo_zuker(Z, N), [duflo_zuker(*pair) for pair in pairs], rtol=1e-10)
    both = [duflo_zuker_columns(Z, N, np.full(len(pairs), bent)) @ DZ10_1996 for bent in (False, True)]
    np.testing.assert_allclose(duflo_zuker(Z, N), np.where(Z > 50, np.maximum(*both), both[0]), rtol=1e-12)


@given(nuclei.filter(lambda nucleus: nucleus[1] <= 140), st.booleans())
def test_only_charge_tells_mirror_nuclei_apart(nucleus: tuple[int, int], bent: bool) -> None:
    """Nuclear forces do not know which nucleon is which: but for Coulomb, and pairing of odd A, mirrors agree."""
    Z, N = nucleus
    shape = np.array(bent)
    one, other = duflo_zuker_columns(Z, N, shape), duflo_zuker_columns(N, Z, shape)
    np.testing.assert_allclose(one[1:9], other[1:9], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.delete(semf9(Z, N), [2, 8]), np.delete(semf9(N, Z), [2, 8]), rtol=1e-12)


@given(nuclei, st.floats(-1e5, 1e6))
def test_conversions_come_back_and_keep_the_electrons_apart(nucleus: tuple[int, int], excess: float) -> None:
    Z, N = nucleus
    ame, bare = ame_binding_energy(Z, N, excess), nuclear_binding_energy(Z, N, excess)
    assert atomic_mass_excess_from_ame_binding(Z, N, ame) == pytest.approx(excess, abs=1e-6)
    assert atomic_mass_excess_from_nuclear_binding(Z, N, bare) == pytest.approx(excess, abs=1e-6)
    assert atomic_mass_excess_from_nuclear(Z, nuclear_mass_excess(Z, excess)) == pytest.approx(excess, abs=1e-6)
    ionisation = CONSTANTS["hydrogen_ionisation"].value
    assert ame - bare == pytest.approx(electron_binding(Z) - Z * ionisation, abs=1e-6)
    # the bare nucleus is its protons and neutrons less the binding; a proton is hydrogen less its electron
    electron = CONSTANTS["electron_mass"].value
    proton = CONSTANTS["hydrogen_mass_excess"].value + ionisation - electron
    neutron = CONSTANTS["neutron_mass_excess"].value
    assert nuclear_mass_excess(Z, excess) == pytest.approx(Z * proton + N * neutron - bare, abs=1e-6)


def test_electrons_bind_uranium_with_762_keV_and_helium_with_79_eV() -> None:
    assert electron_binding(92) == pytest.approx(762, abs=5)
    assert electron_binding(2) == pytest.approx(0.0790, abs=0.005)  # both ionisation energies, NIST
    assert electron_binding(0) == 0


def test_carbon_12_weighs_twelve_units() -> None:
    assert atomic_mass(6, 6, 0.0) == 12 * CONSTANTS["atomic_mass_unit"].value


@pytest.mark.parametrize(
    ("Z", "N", "words"),
    [
        (-1, 3, "Z = -1 at element 0 is outside 0 to 140"),
        (8, 400, "N = 400 at element 0 is outside 0 to 320"),
        ([8, 200], [8, 8], "Z = 200 at element 1"),
        (8.5, 8, "type float64; nucleon numbers are integers"),
        (0, 0, "Z = N = 0"),
    ],
)
def test_impossible_nuclei_are_refused(Z: object, N: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        duflo_zuker(Z, N)  # type: ignore[arg-type]


def test_shapes_and_energies_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ShapeError, match="one pair for each nucleus"):
        semf5([8, 9, 10], [8, 9])
    with pytest.raises(DataError, match="energy at element 1 is nan"):
        ame_binding_energy([8, 8], [8, 9], [0.0, np.nan])


def rms(difference: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(difference**2)))
