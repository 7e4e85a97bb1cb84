"""How far a rate check is, on the terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(total: int, title: str, wanted: bool) -> Iterator[Callable[[str], None]]:
    """A function to be called after each of `total` pieces of work, with a word on the next.

    A bar where there is a terminal and rich is installed, else a line for every tenth of the work;
    both on the error stream.
    """
    done, told = 0, 0

    def silent(_: str) -> None:
        pass

    def line(what: str) -> None:
        nonlocal done, told
        done += 1
        if done * 10 // total > told or done == total:
            told = done * 10 // total
            print(f"{title}: {done} of {total} runs, {what}", file=sys.stderr, flush=True)

    if not wanted:
        yield silent
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining
    except ImportError:
        yield line
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total)
        yield lambda what: bar.update(task, advance=1, description=f"{title}: {what}")
