"""Pictures of sections, maps, gathers and profiles: depth points down, gaps stay blank, scales are shared."""

from __future__ import annotations

import numpy as np

from posteriori.domains.geophysics import pictures
from posteriori.domains.picture import Colours

Z, X = np.arange(4) * 10.0, np.arange(7) * 2000.0


def test_depth_points_down_and_long_distances_are_kilometres() -> None:
    figure = pictures.sections_picture({"a": np.ones((4, 7)), "b": np.zeros((4, 7))}, Z, X, Colours("velocity [m/s]"))
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == ["a", "b"]
    bottom, top = panels[0].get_ylim()
    assert bottom > top
    assert panels[0].get_ylabel() == "depth [m]"
    assert panels[1].get_xlabel() == "distance [km]"
    assert panels[1].get_xlim() == (-1.0, 13.0)


def test_panels_of_one_scale_share_its_ends_and_own_scales_do_not() -> None:
    values = {"a": np.linspace(0, 1, 28).reshape(4, 7), "b": np.linspace(0, 10, 28).reshape(4, 7)}
    one = pictures.sections_picture(values, Z, X, Colours("m"))
    assert {axes.collections[0].get_clim() for axes in one.axes if axes.get_title(loc="left")} == {
        Colours("m").ends(np.concatenate([v.ravel() for v in values.values()]))
    }
    own = pictures.sections_picture(values, Z, X, {"a": Colours("m"), "b": Colours("m", centred=True)})
    low, high = next(axes for axes in own.axes if axes.get_title(loc="left") == "b").collections[0].get_clim()
    assert low == -high


def test_a_dead_trace_stays_blank() -> None:
    gather = np.ones((5, 20))
    gather[2] = np.nan
    figure = pictures.gathers_picture({"observed": gather}, np.arange(20) * 0.004, np.arange(5) * 25.0)
    drawn = figure.axes[0].collections[0].get_array()
    assert np.ma.getmaskarray(drawn).reshape(20, 5)[:, 2].all()
    assert not np.ma.getmaskarray(drawn).reshape(20, 5)[:, [0, 1, 3, 4]].any()


def test_a_profile_shows_band_truth_and_start() -> None:
    mean = np.linspace(1500, 3000, 4)
    profile = pictures.Profile("x = 1 km", mean, mean - 100, mean + 100, mean + 30, mean * 0 + 2000)
    figure = pictures.profiles_picture([profile, profile], Z, "velocity [m/s]")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "90 % interval",
        "posterior mean",
        "start",
        "truth",
    ]


def test_maps_and_stations_put_east_right_and_north_up() -> None:
    figure = pictures.map_picture(
        np.arange(28.0).reshape(4, 7), Z * 1000, X, Colours("mGal"), [pictures.Marks([0.0], [0.0], "station")]
    )
    assert figure.axes[0].get_ylim()[0] < figure.axes[0].get_ylim()[1]
    assert figure.axes[0].get_xlabel() == "easting [km]"
    scattered = pictures.stations_picture({"observed": X}, X, X[::-1], Colours("mGal"))
    offsets = np.asarray(scattered.axes[0].collections[0].get_offsets())
    np.testing.assert_allclose(offsets, np.stack([X, X[::-1]], 1) / 1000)
