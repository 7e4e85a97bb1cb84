"""Writes concept data as it lies on disk, a few pixels large."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CATEGORIES = ("color", "object", "part", "material", "scene", "texture")


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns or list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_image(path: Path, mode: str = "RGB", side: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def write_plane(path: Path, numbers: Any) -> None:
    """As Broden does: red + 256 green."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = np.asarray(numbers)
    pixels = np.stack([numbers % 256, numbers // 256, 0 * numbers], -1).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def write_broden(root: Path) -> None:
    """Seven images: ordinary, unlabelled, grey, CMYK, two corrupt ones, and one of another split."""
    images = root / "images"
    for name, mode in {
        "a": "RGB",
        "none": "RGB",
        "grey": "L",
        "cmyk": "CMYK",
        "val": "RGB",
    }.items():
        write_image(images / f"x/{name}.jpg", mode)
    whole = (images / "x/a.jpg").read_bytes()
    (images / "x/cut.jpg").write_bytes(whole[: len(whole) // 2])
    write_plane(images / "x/a_color.png", [[1, 1, 0], [1, 1, 1]])
    write_plane(images / "x/a_object.png", [[700, 700, 3], [0, 0, 0]])
    write_plane(images / "x/a_part_1.png", [[4, 4, 0], [0, 0, 0]])
    write_plane(images / "x/a_part_2.png", [[0, 4, 257], [0, 0, 0]])
    write_plane(images / "x/empty.png", np.zeros((2, 3), dtype=int))
    rows = [
        {
            "image": "x/a.jpg",
            "color": "x/a_color.png",
            "object": "x/a_object.png",
            "part": "x/a_part_1.png;x/a_part_2.png",
            "scene": "6",
            "texture": "8;9",
        },
        {"image": "x/none.jpg"},
        {"image": "x/grey.jpg", "object": "x/empty.png"},
        {"image": "x/cmyk.jpg", "material": "x/a_object.png"},
        {"image": "x/cut.jpg", "scene": "6"},
        {"image": "x/a.jpg", "part": "x/gone.png"},
        {"image": "x/val.jpg", "split": "val"},
    ]
    sizes = {"split": "train", "ih": 8, "iw": 8, "sh": 2, "sw": 3}
    # the columns of the archive are not in the order of its category table
    columns = ["image", *sizes, *sorted(CATEGORIES)]
    write_table(root / "index.csv", [{**sizes, **row} for row in rows], columns)
    write_table(
        root / "label.csv",
        [
            {"number": number, "name": name, "category": category, "frequency": 1, "coverage": 1}
            for number, name, category in [
                (1, "red-c", "color(2)"),
                (3, "cat", "object(1)"),
                (4, "ear", "part(2)"),
                (6, "bakery-shop-s", "scene(9)"),
                (8, "dotted", "texture(1)"),
                (9, "striped", "texture(1)"),
                (257, "tail", "part(1)"),
                (700, "wood", "material(3);object(40)"),
            ]
        ],
    )
    write_table(
        root / "category.csv", [{"name": name, "first": 1, "last": 9} for name in CATEGORIES]
    )
    for name, coverage in (("material", 0.9), ("object", 0.2)):
        write_table(
            root / f"c_{name}.csv",
            [{"code": 1, "number": 700, "name": "wood", "frequency": 3, "coverage": coverage}],
        )
