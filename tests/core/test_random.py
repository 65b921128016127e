"""The tree of streams: the same for any order of work, and apart from every other generator."""

from __future__ import annotations

import pickle

import torch
from hypothesis import given
from hypothesis import strategies as st

from posteriori import Rng

keys = st.lists(st.one_of(st.integers(0, 20), st.text("ab/:", max_size=3)), min_size=1, max_size=3)


@given(keys, keys)
def test_streams_are_equal_only_for_equal_paths(a: list[int | str], b: list[int | str]) -> None:
    assert (Rng(0).child(*a).entropy == Rng(0).child(*b).entropy) == (a == b)


def test_children_do_not_depend_on_the_order_of_work() -> None:
    first, second = Rng(3), Rng(3)
    first.normal((100,))
    one = [first.child("member", k).normal((4,)) for k in (0, 1, 2)]
    other = [second.child("member", k).normal((4,)) for k in (2, 1, 0)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert torch.equal(Rng(3).child("a").child(1).normal((3,)), Rng(3).child("a", 1).normal((3,)))


def test_draws_advance_a_stream_and_fresh_streams_differ() -> None:
    rng = Rng(0)
    assert not torch.equal(rng.normal((4,)), rng.normal((4,)))
    assert not torch.equal(rng.fresh().normal((4,)), rng.fresh().normal((4,)))
    assert torch.equal(Rng(0).fresh().normal((4,)), Rng(0).fresh().normal((4,)))


def test_inside_with_the_global_generator_is_seeded_and_restored() -> None:
    torch.manual_seed(5)
    wanted = [torch.rand(2), torch.rand(2)]
    torch.manual_seed(5)
    assert torch.equal(torch.rand(2), wanted[0])
    with Rng(1).child("init") as rng:
        inside = torch.rand(3)
        with rng:
            assert not torch.equal(torch.rand(3), inside)
    assert torch.equal(torch.rand(2), wanted[1])
    with Rng(1).child("init"):
        assert torch.equal(torch.rand(3), inside)


def test_the_global_generator_is_restored_after_an_error() -> None:
    state = torch.get_rng_state()
    try:
        with Rng(1):
            raise ValueError
    except ValueError:
        pass
    assert torch.equal(state, torch.get_rng_state())


def test_a_stream_travels_by_its_name() -> None:
    rng = Rng(7).child("worker", 2)
    assert torch.equal(pickle.loads(pickle.dumps(rng)).normal((5,)), rng.normal((5,)))


def test_normal_and_uniform_draws_have_their_moments() -> None:
    """Standard errors 1e-3: five of them are exceeded once in 1.7 million."""
    n = 10**6
    x, u = Rng(0).normal((n,)), Rng(1).uniform((n,))
    assert abs(float(x.mean())) < 5e-3
    assert abs(float(x.var()) - 1) < 5 * (2 / n) ** 0.5
    assert abs(float(u.mean()) - 0.5) < 5 * (1 / 12 / n) ** 0.5
    assert 0 <= float(u.min()) < float(u.max()) < 1
