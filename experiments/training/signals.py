"""Ctrl-C, and a scheduler's SIGTERM, as a question that the loop answers between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether somebody asked to stop."""

    asked = False


@contextmanager
def deferred(patient: bool = False) -> Iterator[Stop]:
    """Note the first signal; a second one acts as it did before. Outside the main thread nothing changes.

    Args:
        patient: note a second one too. A launcher passes on to its processes what the terminal has
            sent them already, and kills what does not end.

    >>> with deferred() as stop:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     stop.asked
    True
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: Any) -> None:
        stop.asked = True
        if not patient:
            put_back()

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        put_back()
