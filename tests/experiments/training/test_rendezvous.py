"""Ranks find each other, and not those of an earlier start."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch.distributed as dist

from experiments.training.rendezvous import met

SOON = timedelta(seconds=20)


def start(store: dist.Store, count: int) -> list[dist.Store]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda rank: met(store, rank, count, SOON), range(count)))


def test_what_one_start_writes_its_ranks_read_and_no_later_start() -> None:
    store = dist.HashStore()
    first = start(store, 3)
    first[1].set("address", "here")
    assert [rank.get("address") for rank in first] == [b"here"] * 3
    assert not any(rank.check(["address"]) for rank in start(store, 3))


def test_fewer_and_more_ranks_than_before() -> None:
    store = dist.HashStore()
    for count in (3, 1, 4):
        ranks = start(store, count)
        ranks[0].set("address", str(count))
        assert {rank.get("address") for rank in ranks} == {str(count).encode()}


def test_a_rank_that_does_not_come() -> None:
    """The one of an earlier start is no substitute."""
    store = dist.HashStore()
    start(store, 2)
    with pytest.raises(TimeoutError, match=r"rank 1 of 2 did not come within 0:00:00\.1"):
        met(store, 0, 2, timedelta(seconds=0.1))
