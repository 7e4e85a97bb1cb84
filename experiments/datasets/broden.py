"""Broden's folder, found from one level above or within; and scenes as Broden lies on disk.

What a scene shows is labelled four times in tables and label planes of R + 256 G: each object by its full name,
its colour and its texture (Broden's "material"), pixel by pixel, and the class, which Broden calls a scene, as a
whole.

Index legend: ``n`` image, ``k`` concept, ``l`` label.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torchvision.transforms.v2 import functional

from experiments.datasets.places365 import save_jpeg
from experiments.datasets.presets import StandIn
from experiments.datasets.spec import DataError, found_at
from experiments.datasets.synthetic import shapes

PAGE = "http://netdissect.csail.mit.edu"
TABLES = ("index.csv", "label.csv", "category.csv")
EXPECTED = f"a Broden folder with {', '.join(TABLES)} and images/, which broden1_224.zip of {PAGE} unpacks to"
FOLDER = "broden1_224"
SPLIT = "validation"  # images that the stand-in of Places365 neither trains nor tests on
PLANES = ("color", "object", "material")
# how Broden marks the category in a label's name
SUFFIXES = {"color": "-c", "object": "", "material": "", "scene": "-s"}


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


def write_broden(root: Path, stand_in: StandIn) -> None:
    """Write a Broden folder below a folder.

    Args:
        root: the folder.
        stand_in: scenes; planes are half as wide and high as images, as Broden's are.
    """
    folder = root / FOLDER
    (folder / "images" / "scenes").mkdir(parents=True)
    scenes = stand_in.scenes
    labels = _labels(scenes.concepts, scenes.class_names)
    first = {name: min(n for n, c, _ in labels if c == name) for name in SUFFIXES}
    seen = np.zeros((2, len(labels) + 1))  # images that a label is in, and what it covers of them
    rows = []
    for n in range(stand_in.labelled):
        images, classes = scenes.tensors(SPLIT, [n])
        image = f"scenes/{n:05}.jpg"
        save_jpeg(folder / "images" / image, images[0])
        planes = _planes(scenes.masks(SPLIT, [n])[0, :, ::2, ::2].numpy(), first)
        cells = {name: f"scenes/{n:05}_{name}.png" for name in planes}
        for name, plane in planes.items():
            functional.to_pil_image(_coloured(plane)).save(folder / "images" / cells[name])
            numbers, pixels = np.unique(plane[plane > 0], return_counts=True)
            seen[:, numbers] += np.stack([np.ones(len(numbers)), pixels / plane.size])
        scene = first["scene"] + int(classes[0])
        seen[:, scene] += 1
        split = "val" if n % 4 == 3 else "train"
        sizes = {"ih": scenes.size, "iw": scenes.size, "sh": plane.shape[0], "sw": plane.shape[1]}
        rows.append({"image": image, "split": split, **sizes, **cells, "scene": scene})
    _table(folder / "index.csv", rows)
    _tables_of_labels(folder, labels, seen)


Labels = Sequence[tuple[int, str, str]]


def _labels(concepts: int, classes: Sequence[str]) -> Labels:
    """Number from 1, category and name of every label."""
    names = {
        "color": list(shapes.COLOURS),
        "object": [shapes.concept_name(k) for k in range(concepts)],
        "material": list(shapes.TEXTURES),
        "scene": list(classes),
    }
    labels = [
        (category, name + SUFFIXES[category]) for category in names for name in names[category]
    ]
    return [(number, *label) for number, label in enumerate(labels, 1)]


def _planes(masks: NDArray[np.bool_], first: Mapping[str, int]) -> dict[str, NDArray[np.int_]]:
    """Label numbers of every pixel by category, 0 where no object is; masks (k, h, w) do not overlap."""
    kinds = []
    for k in range(len(masks)):
        _, colour, texture = shapes.concept_parts(k)
        kinds.append((colour, k, texture))
    planes = {}
    for category, numbers in zip(PLANES, zip(*kinds, strict=True), strict=True):
        labels = first[category] + np.array(numbers)
        planes[category] = (masks * labels[:, None, None]).sum(0)
    return planes


def _coloured(plane: NDArray[np.int_]) -> NDArray[np.uint8]:
    return np.stack([plane % 256, plane // 256, 0 * plane], -1).astype(np.uint8)


def _tables_of_labels(folder: Path, labels: Labels, seen: NDArray[np.float64]) -> None:
    counts = {n: {"frequency": int(seen[0, n]), "coverage": seen[1, n]} for n, _, _ in labels}
    _table(
        folder / "label.csv",
        [
            {
                "number": n,
                "name": name,
                "category": f"{kind}({int(seen[0, n])})",
                **counts[n],
                "syns": "",
            }
            for n, kind, name in labels
        ],
    )
    categories = []
    for kind in SUFFIXES:
        own = [(n, name) for n, category, name in labels if category == kind]
        rows = [
            {"code": code, "number": n, "name": name, **counts[n]}
            for code, (n, name) in enumerate(own, 1)
        ]
        _table(folder / f"c_{kind}.csv", rows)
        total = sum(row["frequency"] for row in rows)
        ends = {"first": own[0][0], "last": own[-1][0], "count": len(own)}
        categories.append({"name": kind, **ends, "frequency": total})
    _table(folder / "category.csv", categories)


def _table(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
