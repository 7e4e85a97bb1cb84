"""Two and four ranks against one process with the whole batch, and against each other."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from experiments.training import checkpoints, distributed
from experiments.training.distributed import rendezvous_store
from tests.experiments.training import together
from tests.experiments.training.together import CASES, training
from tests.ranks import spawned

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")
Found = list[dict[str, Any]]
SOON = timedelta(seconds=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the elastic run's checkpoints."""
    return tmp_path_factory.mktemp("elastic")


@pytest.fixture(scope="module")
def two(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each of two ranks found."""
    return spawned(together.pair, tmp_path_factory.mktemp("two"), folder)


@pytest.fixture(scope="module")
def four(two: Found, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each of four ranks found, after one process has taken the elastic run on."""
    together.stopped_at(training(), 13, folder / "elastic")
    return spawned(together.four, tmp_path_factory.mktemp("four"), folder, ranks=4)


@pytest.fixture(params=[2, pytest.param(4, marks=pytest.mark.slow)])
def group(request: pytest.FixtureRequest) -> Found:
    """Either."""
    return request.getfixturevalue({2: "two", 4: "four"}[request.param])


def alone(case: str) -> dict[str, Any]:
    run = training(**CASES[case])
    run.run()
    return together.seen(run)


def close(found: dict[str, Any], wanted: dict[str, Any], rtol: float = 1e-4) -> None:
    assert found["step"] == wanted["step"] == 20
    assert found["weights"].keys() == wanted["weights"].keys()
    for name, tensor in wanted["weights"].items():
        torch.testing.assert_close(found["weights"][name], tensor, rtol=rtol, atol=rtol / 10)
    for name, tensor in wanted["trained"].items():
        torch.testing.assert_close(found["trained"][name], tensor, rtol=rtol, atol=rtol / 10)
    for ours, theirs in zip(found["epochs"], wanted["epochs"], strict=True):
        assert ours == pytest.approx(theirs, rel=rtol)


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_are_one_process_with_the_whole_batch(case: str, two: Found) -> None:
    agrees(two[0][case], case)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["whole", "in parts"])
def test_four_ranks_are_one_process_with_the_whole_batch(case: str, four: Found) -> None:
    agrees(four[0][case], case)


def agrees(found: dict[str, Any], case: str) -> None:
    wanted = alone(case)
    close(found, wanted, 2e-2 if "bfloat16" in case else 1e-4)
    for ours, theirs in zip(found["supports"], wanted["supports"], strict=True):
        assert torch.equal(ours, theirs)
        assert theirs.any() and not theirs.all(), "something was cut"


@pytest.mark.parametrize("case", CASES)
def test_ranks_stay_bitwise_equal(case: str, two: Found) -> None:
    """Weights, masks and the reduced statistics that the masks are drawn from."""
    left, right = (rank[case] for rank in two)
    assert all(torch.equal(left["weights"][k], v) for k, v in right["weights"].items())
    assert all(map(torch.equal, left["supports"], right["supports"]))
    assert all(map(torch.equal, left["statistics"], right["statistics"]))
    assert left["epochs"] == right["epochs"]
    assert len(left["statistics"]) == len(left["supports"]) == ("bfloat16" not in case)


@pytest.mark.slow
def test_two_ranks_then_one_then_four_are_one_run(four: Found) -> None:
    close(four[0]["elastic"], alone("whole"))


@pytest.mark.slow
def test_what_ranks_write_one_process_reads(four: Found, folder: Path) -> None:
    """The last checkpoint is that of four ranks."""
    snapshot = checkpoints.latest(folder / "elastic")
    assert snapshot is not None and snapshot.step == 20
    run = training()
    run.load(snapshot)
    for name, tensor in four[0]["elastic"]["weights"].items():
        assert torch.equal(run.snapshot().weights[name], tensor)


def test_batch_norm_sees_the_images_of_all_ranks(group: Found) -> None:
    wanted = together.normalised(nn.BatchNorm2d(3), together.batch_of_images())
    parts = [rank["norm"] for rank in group]
    out, of_input, of_weight, of_bias, mean, variance = zip(*parts, strict=True)
    found = [
        torch.cat(out),
        torch.cat(of_input) / len(group),
        sum(of_weight) / len(group),
        sum(of_bias) / len(group),
        mean[0],
        variance[0],
    ]
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert torch.equal(mean[0], mean[-1]) and torch.equal(variance[0], variance[-1])


def test_dropout_differs_by_rank_and_goes_on_bit_for_bit(two: Found) -> None:
    (same, left), (other_same, right) = (rank["dropout"] for rank in two)
    assert same and other_same
    assert left.any() and not torch.equal(left, right)


def test_ranks_agree(two: Found) -> None:
    for rank in two:
        assert rank["told"] == {
            "one asks": True,
            "none asks": False,
            "done": 0,
            "raised": "division by zero",
        }


def test_a_signal_to_one_rank_ends_the_step_of_all(two: Found, folder: Path) -> None:
    assert [rank["interrupted"] for rank in two] == [(7, True), (7, True)]
    assert [place.name for place in checkpoints.listed(folder / "interrupted")] == [
        "step-000000007"
    ]


def test_all_ranks_raise_what_the_first_one_met(two: Found) -> None:
    left, right = (rank["spoilt"] for rank in two)
    assert left == right and left.startswith("CheckpointError: cannot write checkpoint")


def test_a_process_that_nobody_started_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with distributed.joined("cpu") as here:
        assert here == distributed.ALONE and here.first
        assert here.any(True) and not here.any(False)
        assert here.first_does(lambda: 3) == 3
        assert not dist.is_initialized()


def test_half_of_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in distributed.LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    message = "RANK is set, so WORLD_SIZE, MASTER_ADDR, MASTER_PORT must be"
    with pytest.raises(ValueError, match=message), distributed.joined("cpu"):
        pass


def test_more_ranks_than_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in distributed.LAUNCHED:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    message = "LOCAL_RANK must be below the number of CUDA devices, 1, got 1"
    with pytest.raises(ValueError, match=message), distributed.joined("cuda"):
        pass


def test_a_rank_that_only_notices_names_the_one_that_failed() -> None:
    store = dist.HashStore()
    first = distributed._blamed(distributed.Ranks(1, 2), ValueError("no disk"), store)
    second = distributed._blamed(
        distributed.Ranks(0, 2), RuntimeError("Connection closed by peer"), store
    )
    assert re.fullmatch(r"rank 1 of 2 on \S+ failed: ValueError: no disk", first)
    assert second == f"rank 0 of 2 ends, as {first}"


def test_a_batch_that_ranks_cannot_share() -> None:
    message = "batch must be a multiple of 1 parts times 3 ranks, got 8"
    with pytest.raises(ValueError, match=message):
        training(distributed.Ranks(0, 3))


def start(store: dist.Store, count: int) -> list[dist.Store]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda rank: rendezvous_store(store, rank, count, SOON), range(count)))


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
        rendezvous_store(store, 0, 2, timedelta(seconds=0.1))
