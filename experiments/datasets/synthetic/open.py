"""Images that are drawn, not read: scenes, glyphs and the digits that come with scikit-learn."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from torch.utils.data import Dataset

from experiments.datasets import transforms
from experiments.datasets.dataset import Augmented, Images, InMemory, Viewed
from experiments.datasets.digits import Digits
from experiments.datasets.rng import SPLITS, check_integer
from experiments.datasets.synthetic.base import Generated
from experiments.datasets.synthetic.glyphs import Glyphs
from experiments.datasets.synthetic.scenes import Scenes

# images to train, validate and test on
SIZES = {"tiny": (480, 120, 240), "small": (5_000, 1_500, 2_000), "paper": (50_000, 5_000, 10_000)}
# of the largest set; smaller ones are as the classes' own defaults
PAPER = {"scenes": {"size": 128, "classes": 100, "concepts": 48}, "glyphs": {}}
SOURCES: dict[str, type[Scenes] | type[Glyphs]] = {"scenes": Scenes, "glyphs": Glyphs}
# means and standard deviations of 500 training images of the default sets, and of all digits
PIXELS = {
    "scenes": ([0.45] * 3, [0.25] * 3),
    "glyphs": ([0.06], [0.51]),
    "digits": ([0.31], [0.38]),
}
IN_MEMORY = 2**30  # bytes of a split up to which its images are drawn once and kept


def options_of(name: str) -> dict[str, type]:
    """What may be said of a set and the type of it: its own parameters, and the numbers of images."""
    if name == "digits":
        return {"seed": int}
    own = {field.name: type(field.default) for field in fields(SOURCES[name])}
    return {**own, **dict.fromkeys(SPLITS, int)}


def open_drawn(name: str, scale: str, seed: int, options: dict[str, Any]) -> Images:
    """A drawn set.

    Args:
        name: scenes, glyphs or digits.
        scale: tiny, small or paper; digits know none.
        seed: of the images, unless the options name another.
        options: some of `options_of`.

    Raises:
        ValueError: an option is out of range.
    """
    options = {"seed": seed, **options}
    if name == "digits":
        digits = Digits(**options)
        splits: dict[str, Dataset[Any]] = {
            split: InMemory(*digits.tensors(split)) for split in SPLITS
        }
        return _images(name, digits, splits, asdict(digits), seed)
    counts = dict(zip(SPLITS, SIZES[scale], strict=True))
    counts = {split: options.pop(split, n) for split, n in counts.items()}
    for split, n in counts.items():
        check_integer(split, n, 1)
    source = SOURCES[name](**{**(PAPER[name] if scale == "paper" else {}), **options})
    splits = {split: _split(source, split, n) for split, n in counts.items()}
    return _images(name, source, splits, {**asdict(source), **counts}, seed)


def _split(source: Generated, split: str, n: int) -> Dataset[Any]:
    size = 4 * n * source.channels * source.size**2
    return InMemory(*source.tensors(split, n)) if size <= IN_MEMORY else source.split(split, n)


def _images(
    name: str,
    source: Generated | Digits,
    splits: dict[str, Dataset[Any]],
    identity: dict[str, Any],
    seed: int,
) -> Images:
    view = transforms.drawings(source.size, *PIXELS[name])
    plain = {split: Viewed(pictures, view.plain) for split, pictures in splits.items()}
    return Images(
        name=name,
        class_names=tuple(source.class_names),
        channels=source.channels,
        size=source.size,
        train=Augmented(splits["train"], view.train, seed),
        plain=plain["train"],
        validation=plain["validation"],
        test=plain["test"],
        prepare=view.prepare,
        identity={"name": name, **identity},
        drawn=source if isinstance(source, Generated) else None,
    )
