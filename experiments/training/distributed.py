"""The processes that train one run together, as torchrun starts them; one process alone is a group of one.

torchrun keeps one store over all restarts, and gloo writes its addresses there under names that do not change. A
rank that is first after a restart would read where the dead ones have listened, so every start has a key prefix of
its own.
"""

import contextlib
import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.elastic.multiprocessing.errors import get_error_handler
from torch.distributed.rendezvous import rendezvous

T = TypeVar("T")
CPU = torch.device("cpu")
LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
TIMEOUT = timedelta(minutes=30)
POLL = 0.01  # seconds


class RankError(RuntimeError):
    """A rank failed: the message says which one was the first, and how."""


@dataclass(frozen=True)
class Ranks:
    """Processes that train together, as one of them sees them.

    Every method but `first` is called by all of them, at the same point.

    Args:
        rank: number of this process.
        count: of processes.
        device: of this process.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files."""
        return self.rank == 0

    def total(self, value: Tensor) -> Tensor:
        """The sum of each rank's tensor."""
        total = value.detach().clone()
        if self.count > 1:
            dist.all_reduce(total)
        return total

    def any(self, asked: bool) -> bool:
        """Whether it is so on any rank."""
        # on the CPU, where gloo answers without a wait for what the device is at
        return asked if self.count == 1 else bool(self.total(torch.tensor(int(asked))))

    def first_does(self, action: Callable[[], T]) -> T:
        """What the first rank's call returned, or raised, on every rank."""
        if self.count == 1:
            return action()
        outcome: list[Any] = [None, None]
        if self.first:
            try:
                outcome[0] = action()
            except Exception as error:
                outcome[1] = error
        dist.broadcast_object_list(outcome, device=CPU)
        if outcome[1] is not None:
            raise outcome[1]
        answer: T = outcome[0]
        return answer


ALONE = Ranks()


@contextmanager
def joined(device: str | None = None, timeout: timedelta = TIMEOUT) -> Iterator[Ranks]:
    """The ranks that torchrun started, while inside; one process that nobody started is alone.

    Where one rank fails, the others fail too, at once or after `timeout`, and say why; torchrun
    then starts all of them again, if it was told to.

    Args:
        device: "cpu" or "cuda"; None: CUDA where there is any. Ranks on CUDA get one device each.
        timeout: the longest that a rank waits for another.

    Raises:
        RankError: this rank or another one failed.
        TimeoutError: a rank did not come.
        ValueError: the environment is not torchrun's, or there are fewer devices than ranks.
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if "RANK" not in os.environ:
        yield Ranks(device=torch.device(kind))
        return
    missing = [name for name in LAUNCHED if name not in os.environ]
    if missing:
        raise ValueError(f"RANK is set, so {', '.join(missing)} must be, as torchrun does")
    place = _device(kind, int(os.environ.get("LOCAL_RANK", "0")))
    shared, rank, count = next(rendezvous("env://", timeout=timeout))
    store = rendezvous_store(shared, rank, count, timeout)
    backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=timeout)
    here = Ranks(rank, count, place)
    try:
        yield here
    except Exception as error:
        # the group stays: to destroy it waits for ranks that are at some other collective
        failure = RankError(_blamed(here, error, PrefixStore("failures", store)))
        get_error_handler().record_exception(failure)  # for the launcher's own summary
        raise failure from error
    except BaseException:
        dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def _device(kind: str, local: int) -> torch.device:
    if kind != "cuda":
        return torch.device(kind)
    if local >= torch.cuda.device_count():
        raise ValueError(
            f"LOCAL_RANK must be below the number of CUDA devices, {torch.cuda.device_count()}, "
            f"got {local}: lower --nproc-per-node, or use device 'cpu'"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def _blamed(here: Ranks, error: Exception, store: Store) -> str:
    """Who failed first, for all: the others only notice that it is gone."""
    message = (
        f"rank {here.rank} of {here.count} on {socket.gethostname()} failed: "
        f"{type(error).__name__}: {error}"
    )
    first = message
    with contextlib.suppress(RuntimeError):  # its host may be the one that is gone
        first = store.compare_set("first", "", message).decode()
    return message if first == message else f"rank {here.rank} of {here.count} ends, as {first}"


def rendezvous_store(store: Store, rank: int, count: int, timeout: timedelta) -> Store:
    """The store under a name that all ranks of this start know, and no earlier one.

    Every rank asks under a name of its own that nobody has used, and the first rank answers all that
    is asked, by the dead as well, until it has heard back from each.

    Args:
        store: that all ranks reach.
        rank: of this process.
        count: of processes.
        timeout: the longest that the first rank waits for the others.

    Raises:
        TimeoutError: a rank did not come.
    """
    name = uuid.uuid4().hex
    if rank:
        store.set(f"asks/{rank}", name)
        store.wait([f"answer/{name}"], timeout)
        session = store.get(f"answer/{name}").decode()
        store.set(f"{session}/{rank}", "")
        return PrefixStore(session, store)
    missing, end = set(range(1, count)), time.monotonic() + timeout.total_seconds()
    while missing:
        for other in sorted(missing):
            if store.check([f"asks/{other}"]):
                store.set(f"answer/{store.get(f'asks/{other}').decode()}", name)
        missing = {other for other in missing if not store.check([f"{name}/{other}"])}
        if missing and time.monotonic() > end:
            raise TimeoutError(f"rank {min(missing)} of {count} did not come within {timeout}")
        time.sleep(POLL if missing else 0)
    return PrefixStore(name, store)


def leave(status: int = 0) -> NoReturn:
    """End this process, whose files are written, without finalizing its interpreter.

    Something may keep a process group alive, so that its threads are not joined when it is destroyed. One of
    gloo's that is about to release the tensors of the last collective waits for the GIL, and where that has
    become the finalizing interpreter's, the process aborts: "terminate called without an active exception"
    (https://github.com/pytorch/pytorch/issues/190489).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
