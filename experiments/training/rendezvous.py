"""How the ranks of one start find each other in a store that an earlier start has used.

torchrun keeps one store over all restarts, and gloo writes its addresses there under names that do
not change. A rank that is first after a restart would read where the dead ones have listened.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

import torch.distributed as dist

POLL = 0.01  # seconds


def met(store: dist.Store, rank: int, count: int, timeout: timedelta) -> dist.Store:
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
        return dist.PrefixStore(session, store)
    missing, end = set(range(1, count)), time.monotonic() + timeout.total_seconds()
    while missing:
        for other in sorted(missing):
            if store.check([f"asks/{other}"]):
                store.set(f"answer/{store.get(f'asks/{other}').decode()}", name)
        missing = {other for other in missing if not store.check([f"{name}/{other}"])}
        if missing and time.monotonic() > end:
            raise TimeoutError(f"rank {min(missing)} of {count} did not come within {timeout}")
        time.sleep(POLL if missing else 0)
    return dist.PrefixStore(name, store)
