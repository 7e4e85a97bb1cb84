"""Where Broden lies: the folder with `index.csv`, found from one level above or within."""

from __future__ import annotations

from pathlib import Path

from experiments.datasets.errors import DataError, found_at

PAGE = "http://netdissect.csail.mit.edu"
TABLES = ("index.csv", "label.csv", "category.csv")
EXPECTED = f"a Broden folder with {', '.join(TABLES)} and images/, which broden1_224.zip of {PAGE} unpacks to"


def find(path: Path) -> Path:
    """The folder of a Broden.

    Args:
        path: the folder itself, the one that holds it alone, or its `images`.

    Raises:
        DataError: it is not there, or lacks a table or its images.
    """
    below = sorted(path.glob(f"*/{TABLES[0]}")) if path.is_dir() else []
    near = (path, path.parent, *(table.parent for table in below[:1]))
    for folder in near:
        if (folder / TABLES[0]).is_file():
            missing = [name for name in TABLES if not (folder / name).is_file()]
            missing += ["images/"] * (not (folder / "images").is_dir())
            if missing:
                raise DataError(
                    f"{folder} must be {EXPECTED}; it lacks {', '.join(missing)}, "
                    f"found {found_at(folder)}"
                )
            return folder
    raise DataError(f"{path} must be or hold {EXPECTED}; found {found_at(path)}")
