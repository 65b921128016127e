"""Torch adds on one thread inside a task; tasks that never meet use all that are free, in the same order."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from posteriori.core.threads import fixed_threads, free_threads, side_by_side


@pytest.fixture
def three() -> Iterator[None]:
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(1)


@pytest.mark.usefixtures("three")
def test_threads_stay_free_where_torch_is_held_to_one() -> None:
    with fixed_threads(), fixed_threads():
        assert torch.get_num_threads() == 1
        assert free_threads() == 3
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three")
def test_tasks_meet_on_three_threads_come_back_in_order_and_open_no_more() -> None:
    meeting = threading.Barrier(3, timeout=20)

    def work(task: int) -> tuple[int, int]:
        meeting.wait()  # would break unless three run at once
        return task, free_threads()

    with fixed_threads():
        assert list(side_by_side(work, range(9))) == [(k, 1) for k in range(9)]
    assert free_threads() == 3


def test_one_thread_works_in_place() -> None:
    here = threading.get_ident()
    assert set(side_by_side(lambda _: threading.get_ident(), range(3))) == {here}
