"""The file that says of a folder that it is a stand-in, and what its files' checksums are.

Where it is missing the published checksums hold, so real data is never read unchecked.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

NAME = "stand-in.json"


def write(folder: Path) -> None:
    """Mark a folder whose files are all written."""
    sums = {p.name: _md5(p.read_bytes()) for p in sorted(folder.iterdir()) if p.is_file()}
    (folder / NAME).write_text(json.dumps(sums, indent=1) + "\n")


def read(folder: Path) -> dict[str, str] | None:
    """The checksums of a stand-in's files; None for a folder without the mark."""
    file = folder / NAME
    return json.loads(file.read_text()) if file.is_file() else None


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
