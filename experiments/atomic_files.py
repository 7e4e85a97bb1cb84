"""Files that are on the disk, whole, or not there: write, fsync, rename."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".part"


def write(path: Path, content: bytes) -> None:
    """Write a file and return when the disk has it."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, content: bytes) -> None:
    """Write a file in one move: whatever happens, the old one or the new one is there, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    try:
        write(part, content)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    settle(path.parent)


@contextmanager
def drafted(folder: Path) -> Iterator[Path]:
    """A folder to write files into, that takes its name in one move at the end, or vanishes.

    An earlier folder of that name is replaced; a process that is killed leaves `.NAME.part` behind,
    which `sweep` removes.
    """
    part = _part(folder)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        settle(part)
        if folder.exists():
            discard(folder)
        os.rename(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    settle(folder.parent)


def discard(folder: Path) -> None:
    """Remove a folder; in the middle of it, no folder of that name is there."""
    doomed = folder.with_name(f".{folder.name}.old{PART}")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(folder, doomed)
    shutil.rmtree(doomed)


def sweep(folder: Path) -> None:
    """Remove what killed processes left half done."""
    for part in folder.glob(f".*{PART}"):
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink()


def settle(folder: Path) -> None:
    """Wait until the disk has a folder's list of names, as far as the system can tell."""
    if os.name == "nt":  # a folder cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}{PART}")
