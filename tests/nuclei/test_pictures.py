"""Pictures of nuclear studies: what they show is what they were given."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from posteriori.audit.reliability import reliability_curve
from posteriori.domains import picture
from posteriori.domains.nuclei import pictures
from posteriori.domains.nuclei.chart import chart, whole_chart
from posteriori.domains.nuclei.pictures import Chain
from posteriori.domains.picture import Colours


def png(figure: Figure) -> int:
    """Bytes of the drawn picture; drawing raises where a part cannot be laid out."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=60)
    return len(file.getvalue())


def test_a_grid_holds_each_nucleus_at_its_place() -> None:
    filled = pictures.grid([20, 22, 21], [30, 31, 33], [1.0, 2.0, 3.0], margin=1)
    assert filled.shape == (5, 6)
    assert (filled[1, 1], filled[3, 2], filled[2, 4]) == (1.0, 2.0, 3.0)
    assert np.isnan(filled).sum() == 27


@pytest.mark.parametrize(
    ("colours", "values", "ends"),
    [
        (Colours("a", 0.0, 1.0), [5.0, 7.0], (0.0, 1.0)),
        (Colours("a", centred=True), [-2.0, np.nan, -2.0], (-2.0, 2.0)),
        (Colours("a", low=0.0), [3.0, 3.0], (0.0, 3.0)),
        (Colours("a"), [np.nan], (0.0, 1.0)),
        (Colours("a"), [4.0, 4.0], (4.0, 5.0)),
    ],
)
def test_ends_of_the_colours(colours: Colours, values: list[float], ends: tuple[float, float]) -> None:
    assert colours.ends(np.array(values)) == ends


def test_the_outline_is_the_border_of_the_set() -> None:
    """A 2 × 3 block has ten sides, a nucleus apart four."""
    figure, axes = picture.blank(4, 3)
    pictures.outline(axes, chart([20, 20, 20, 21, 21, 21, 30], [30, 31, 32, 30, 31, 32, 60]))
    x = np.asarray(axes.lines[0].get_xdata())
    assert np.isnan(x).sum() == 14
    assert (np.nanmin(x), np.nanmax(x)) == (29.5, 60.5)
    assert png(figure) > 1000


@pytest.mark.parametrize("colours", [Colours("x [keV]", centred=True), Colours("x [keV]", 0.1, log=True)])
def test_the_chart_shows_the_values(colours: Colours) -> None:
    cells = whole_chart(30)
    values = np.linspace(-1.0, 2.0, cells.size) if colours.centred else np.linspace(0.1, 50.0, cells.size)
    figure = pictures.chart_picture(cells, values, colours, chart([20, 20], [20, 21]))
    shown = figure.axes[0].images[0].get_array().compressed()
    assert sorted(shown) == pytest.approx(sorted(values))
    assert figure.axes[1].get_ylabel() == "x [keV]"
    pictures.contours(figure.axes[0], cells, values, (0.5, 1.0), "MeV")
    assert png(figure) > 5000


def test_a_calibrated_law_lies_on_the_diagonal() -> None:
    """2000 uniform probabilities stay within four standard errors of every level."""
    pit = np.random.default_rng(0).uniform(size=2000)
    figure = picture.calibration_picture({"law": pit})
    x, y = figure.axes[0].lines[1].get_data()
    assert np.abs(np.asarray(y) - np.asarray(x)).max() < 4 * 0.5 / np.sqrt(2000)
    assert png(figure) > 5000


def test_errors_are_gathered_by_distance() -> None:
    figure = pictures.distance_picture([1, 1, 2], [3.0, -4.0, 10.0], [1.0, 7.0, 2.0])
    stated, found = (np.asarray(line.get_ydata()) for line in figure.axes[0].lines)
    assert found == pytest.approx([np.sqrt(12.5), 10.0])
    assert stated == pytest.approx([5.0, 2.0])
    assert png(figure) > 5000


def test_a_chain_is_shown_in_mev_less_its_reference() -> None:
    n = np.arange(28.0, 33.0)
    some = (n[:2], np.array([1000.0, 2000.0]), np.array([10.0, 10.0]))
    chain = Chain(20, n, 1000 * (n - 28), np.full(5, 100.0), some, (n[3:], 1000 * (n[3:] - 28), some[2]))
    figure = pictures.chain_picture(chain, "S_n", 1000 * (n - 28))
    assert np.asarray(figure.axes[0].lines[0].get_ydata()) == pytest.approx(np.zeros(5))
    before = figure.axes[0].containers[0].lines[0].get_ydata()
    assert np.asarray(before) == pytest.approx([1.0, 1.0])
    assert "Ca" in figure.axes[0].get_xlabel()
    assert png(figure) > 5000


def test_reliability_and_coverage_show_their_numbers() -> None:
    stated = torch.tensor([0.1, 0.1, 0.9, 0.9], dtype=torch.float64)
    curve = reliability_curve(stated, torch.tensor([0.0, 1.0, 1.0, 1.0], dtype=torch.float64), bins=5)
    figure = picture.reliability_picture(curve, "it is bound")
    found = figure.axes[0].containers[0].lines[0].get_data()
    assert np.asarray(found) == pytest.approx(np.array([[0.1, 0.9], [0.5, 1.0]]))
    assert png(figure) > 5000
    shares = {"joint": {"S_n": (0.7, 0.02), "S_p": (0.6, 0.03)}, "ignored": {"S_n": (0.9, 0.02)}}
    figure = picture.levels_picture(shares, 0.68)
    assert np.asarray(figure.axes[0].containers[1].lines[0].get_ydata()) == pytest.approx([90.0])
    assert png(figure) > 5000
