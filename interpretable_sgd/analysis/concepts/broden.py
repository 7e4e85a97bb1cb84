"""Broden: 63,305 images with colours, materials, objects, parts, scenes and textures, as on disk.

The format is that of the archive of Bau et al., Network Dissection, CVPR 2017:

- ``index.csv`` has a row for each image: its path below ``images/``, the size of its label planes
  (``sh``, ``sw``), and a column for each category, whose cell is empty or ``;``-separated: a decimal
  number labels the whole image, anything else is a label image below ``images/``.
- ``category.csv`` names the categories, ``label.csv`` the labels, and ``c_<category>.csv`` says how
  much of the data a label covers in a category.
"""

import csv
import re
from pathlib import Path

from interpretable_sgd.analysis.concepts.files import read_image, read_numbers
from interpretable_sgd.analysis.concepts.table import (
    Concept,
    ConceptError,
    ConceptSample,
    ConceptTable,
    Plane,
)

MEMBERSHIP = re.compile(r"^(.+?)(?:\((\d+)\))?$")
NEEDED = ("image", "sh", "sw")


class Broden:
    """The labelled images of a Broden folder.

    A label of several categories belongs to the one in which it covers most.

    Args:
        root: folder that holds ``index.csv``.
        split: ``"train"`` or ``"val"``; None for all images.

    Raises:
        FileNotFoundError: a table is missing.
        ValueError: a table lacks a column; there is no image, or none of the split.
    """

    def __init__(self, root: Path | str, split: str | None = None) -> None:
        self.root = Path(root)
        self.categories = [row["name"] for row in read_table(self.root / "category.csv", ["name"])]
        self.table = _labels(self.root, self.categories)
        columns = [*NEEDED, *self.categories, *(["split"] if split else [])]
        rows = read_table(self.root / "index.csv", columns)
        self._rows = [row for row in rows if split in (None, row.get("split"))]
        if not self._rows:
            of_split = f" of split {split!r}" if rows else ""
            raise ValueError(f"{self.root / 'index.csv'} must list images{of_split}, got none")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> ConceptSample:
        row = self._rows[index]
        try:
            size = int(row["sh"]), int(row["sw"])
        except ValueError:
            raise ConceptError(
                f"sh and sw must be whole numbers, got {row['sh']!r} and {row['sw']!r}"
            ) from None
        labels = [entry for name in self.categories for entry in self._entries(row[name])]
        image = read_image(self._image(row["image"]))
        return ConceptSample(image, labels, size, row["image"])

    def name(self, index: int) -> str:
        """Path below ``images/``."""
        return self._rows[index]["image"]

    def _image(self, path: str) -> Path:
        """A path below ``images/``; index files written on Windows have backslashes."""
        return self.root / "images" / path.replace("\\", "/")

    def _entries(self, cell: str) -> list[Plane | int]:
        items = [item.strip() for item in cell.split(";") if item.strip()]
        return [
            int(item) if item.isdecimal() else read_numbers(self._image(item)) for item in items
        ]


def read_table(path: Path, columns: list[str]) -> list[dict[str, str]]:
    """Rows of a csv file by column name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it lacks a column.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} must exist: it is a table of the concept data, and does not"
        )
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(f"must have the columns {columns}, it lacks {missing}")
            return [
                {key: value or "" for key, value in row.items() if key is not None}
                for row in reader
            ]
    except (ValueError, csv.Error) as error:  # UnicodeDecodeError is a ValueError
        raise ValueError(f"{path} {error}") from None


def whole_number(path: Path, column: str, cell: str) -> int:
    """A cell as a number.

    Raises:
        ValueError: it is none; the table and the column are named.
    """
    try:
        return int(cell)
    except ValueError:
        raise ValueError(f"{column} in {path} must be a whole number, got {cell!r}") from None


def _labels(root: Path, categories: list[str]) -> ConceptTable:
    path = root / "label.csv"
    coverage = {name: _coverage(root / f"c_{name}.csv") for name in categories}
    concepts = []
    for row in read_table(path, ["number", "name", "category"]):
        number = whole_number(path, "number", row["number"])
        # 0 is unlabelled; some releases list it
        if number:
            concepts.append(Concept(number, row["name"], _category(number, row, coverage)))
    return ConceptTable(tuple(concepts))


def _category(number: int, row: dict[str, str], coverage: dict[str, dict[int, float]]) -> str:
    """The category in which a label covers most; without its table, has most images."""
    parts = [MEMBERSHIP.match(part.strip()) for part in row["category"].split(";") if part.strip()]
    found = {part[1]: float(part[2] or 0) for part in parts if part}
    if not found or not set(found) <= set(coverage):
        raise ValueError(
            f"category of label {row['number']} must be among {list(coverage)}, "
            f"got {row['category']!r}"
        )
    if all(number in coverage[name] for name in found):
        return max(found, key=lambda name: coverage[name][number])
    return max(found, key=lambda name: found[name])


def _coverage(path: Path) -> dict[int, float]:
    if not path.is_file():
        return {}
    found = {}
    for row in read_table(path, ["number", "coverage"]):
        if row["coverage"]:
            number = whole_number(path, "number", row["number"])
            try:
                found[number] = float(row["coverage"])
            except ValueError:
                raise ValueError(
                    f"coverage in {path} must be a number, got {row['coverage']!r}"
                ) from None
    return found
