"""Compiled figures of particle configurations: one pass over rows, nothing kept of them."""

from __future__ import annotations

from math import sqrt

from posteriori.physics.compiled import ENERGY, MATRIX, VECTOR, Floats, Function, kernel, numba


@kernel(ENERGY, VECTOR, MATRIX, numba.types.int64, MATRIX, VECTOR, numba.types.float64)
def observe(
    f: Function, parameters: Floats, x: Floats, axes: int, figures: Floats, histogram: Floats, width: float
) -> None:
    """Fill ``figures`` (row, 5) with U, radius of gyration, one labelled distance, the mean distance, and Σ x · ∇U.

    ``histogram`` counts every pair distance in bins of ``width``; the last one takes all that are longer.
    """
    size = x.shape[1]
    n = size // axes
    slope = x[0].copy()
    centre = slope[:axes].copy()
    for r in range(len(x)):
        row = x[r]
        figures[r, 0] = f(row, parameters, slope)
        centre[:] = 0.0
        for i in range(size):
            centre[i % axes] += row[i] / n
        spread = work = 0.0
        for i in range(size):
            away = row[i] - centre[i % axes]
            spread += away * away
            work += away * slope[i]
        figures[r, 1] = sqrt(spread / n)
        figures[r, 4] = work
        total = 0.0
        for i in range(n):
            for j in range(i):
                d = 0.0
                for a in range(axes):
                    gap = row[i * axes + a] - row[j * axes + a]
                    d += gap * gap
                d = sqrt(d)
                total += d
                histogram[min(int(d / width), histogram.size - 1)] += 1.0
                if i == 1:
                    figures[r, 2] = d
        figures[r, 3] = 2.0 * total / (n * (n - 1))
