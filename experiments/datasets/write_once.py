"""A folder is written once, whole, by one process; others wait and find it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from experiments import atomic_files


def written(
    parent: Path, name: str, parameters: Mapping[str, Any], write: Callable[[Path], None]
) -> Path:
    """The folder of some parameters, after `write` has filled it if it was not there.

    Its name ends in a hash of the parameters. It takes this name in one move, so there is never a half
    of one, and a process that is killed lets the next begin anew.

    Args:
        parent: where such folders lie.
        name: what the folder's name begins with.
        parameters: all that decides the content, as JSON.
        write: fills an empty folder.
    """
    key = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:12]
    folder = parent / f"{name}-{key}"
    if not folder.is_dir():
        parent.mkdir(parents=True, exist_ok=True)
        with FileLock(parent / f".{folder.name}.lock"):
            if not folder.is_dir():
                with atomic_files.drafted(folder) as draft:
                    write(draft)
    return folder
