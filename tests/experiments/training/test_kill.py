"""kill -9 at any moment: what is resumed equals the uninterrupted run bit for bit."""

import multiprocessing
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from experiments.training import checkpoints
from tests.experiments.training import victim

TIMEOUT = 120


@pytest.fixture(scope="module")
def server():
    """Processes forked from one that has imported everything and trained nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.experiments.training.victim"])
    return context


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, server):
    """The last snapshot of a run that nobody disturbs, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("whole")
    started = server.Event()
    process = server.Process(target=victim.train, args=(str(folder), started))
    process.start()
    assert started.wait(TIMEOUT)
    start = time.perf_counter()
    process.join(TIMEOUT)
    assert process.exitcode == 0
    return checkpoints.latest(folder), time.perf_counter() - start


def same(first, second):
    """Whether two nested states are equal, bit for bit."""
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(v, second[k]) for k, v in first.items())
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def assert_same(found, wanted):
    assert found.step == wanted.step == 40
    assert same(dict(found.weights), dict(wanted.weights))
    for key in wanted.state.keys() - {"seconds"}:
        assert same(found.state[key], wanted.state[key]), key
    assert found.config == wanted.config


def finish(folder, server):
    started = server.Event()  # held until the process has it
    process = server.Process(target=victim.train, args=(str(folder), started))
    process.start()
    process.join(TIMEOUT)
    assert process.exitcode == 0
    assert not list(Path(folder).glob(".*"))
    return checkpoints.latest(folder)


def kill_at_random(folder, server, seconds, draw):
    """Start the run again and again until a kill hits it before its end."""
    for _ in range(50):
        started = server.Event()
        process = server.Process(target=victim.train, args=(str(folder), started))
        process.start()
        assert started.wait(TIMEOUT)
        time.sleep(draw.uniform(0, seconds))
        process.kill()
        process.join(TIMEOUT)
        last = checkpoints.latest(folder)
        if process.exitcode == -signal.SIGKILL and (last is None or last.step < 40):
            return
        seconds /= 2
        for place in checkpoints.listed(folder):
            checkpoints.atomic_files.discard(place)
    pytest.fail("no kill came before the end of the run")


def check_random_kills(points, tmp_path, server, uninterrupted, seed):
    wanted, seconds = uninterrupted
    draw = random.Random(seed)
    for point in range(points):
        folder = tmp_path / str(point)
        kill_at_random(folder, server, seconds, draw)
        assert_same(finish(folder, server), wanted)


def test_killed_at_three_random_moments(tmp_path, server, uninterrupted):
    check_random_kills(3, tmp_path, server, uninterrupted, seed=0)


@pytest.mark.slow
@pytest.mark.nightly
def test_killed_at_twenty_random_moments(tmp_path, server, uninterrupted):
    check_random_kills(20, tmp_path, server, uninterrupted, seed=1)


# From the first file of the first checkpoint over the removal of the third to the one after it.
@pytest.mark.parametrize(
    "event",
    [
        pytest.param(n, marks=() if n in (4, 7, 25) else (pytest.mark.slow, pytest.mark.nightly))
        for n in range(1, 60)
    ],
)
def test_killed_while_a_checkpoint_is_written(event, tmp_path, server, uninterrupted):
    process = server.Process(target=victim.train_until, args=(str(tmp_path), event))
    process.start()
    process.join(TIMEOUT)
    assert process.exitcode == -signal.SIGKILL
    assert_same(finish(tmp_path, server), uninterrupted[0])


def test_killed_twice(tmp_path, server, uninterrupted):
    for event in (30, 20):
        process = server.Process(target=victim.train_until, args=(str(tmp_path), event))
        process.start()
        process.join(TIMEOUT)
        assert process.exitcode == -signal.SIGKILL
    assert_same(finish(tmp_path, server), uninterrupted[0])
