"""The closed forms lose few digits far away: against Gauss-Legendre quadrature."""

from __future__ import annotations

import numpy as np
import pytest

from posteriori.physics.prism import prism_rows, weights

NODES, SHARES = np.polynomial.legendre.leggauss(8)


def quadrature(edges: tuple[np.ndarray, np.ndarray, np.ndarray], which: str) -> float:
    """∭ of the derivative of 1 / r by the source; eight nodes an axis, exact to 1e-15 beyond five diameters."""
    mid, half = [e.mean() for e in edges], [np.diff(e)[0] / 2 for e in edges]
    x, y, z = np.meshgrid(*(m + h * NODES for m, h in zip(mid, half, strict=True)), indexing="ij")
    w = SHARES[:, None, None] * SHARES[:, None] * SHARES * np.prod(half)
    r = np.sqrt(x * x + y * y + z * z)
    kernel = {"z": -z / r**3, "zz": (3 * z * z - r * r) / r**5, "xz": 3 * x * z / r**5}[which]
    return float((w * kernel).sum())


@pytest.mark.parametrize(("which", "tolerance"), [("z", 1e-9), ("zz", 1e-9), ("xz", 1e-9)])
@pytest.mark.parametrize("cells_away", [10, 60])
def test_far_prisms(which: str, tolerance: float, cells_away: int) -> None:
    """Largest error as a share of what a prism at the same distance straight below gives."""
    away = 50.0 * cells_away
    edges = np.array([away, away + 50]), np.array([300.0, 350.0]), np.array([400.0, 450.0])
    out = np.empty((1, 1, 1, 1))
    prism_rows(*edges, np.zeros((1, 3)), weights(**{which: 1.0}), out)
    size = 50.0**3 / away ** (2 if which == "z" else 3)
    assert abs(float(out[0, 0, 0, 0]) - quadrature(edges, which)) < tolerance * size
