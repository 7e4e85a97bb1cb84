"""Images by name: `cifar10`, `places365`, `scenes`, `glyphs`, `digits`, each with a path or options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.datasets import cifar10, places365, presets, transforms
from experiments.datasets.dataset import Images
from experiments.datasets.image_files import images_of
from experiments.datasets.presets import shown_at
from experiments.datasets.rng import check_integer
from experiments.datasets.spec import Named, parse, typed
from experiments.datasets.stand_ins.cifar10 import write_cifar10
from experiments.datasets.stand_ins.places365 import write_places365
from experiments.datasets.synthetic import open
from experiments.datasets.write_once import written

__all__ = ["DRAWN", "READ", "SCALES", "Images", "open_images"]

DRAWN = ("scenes", "glyphs", "digits")
READ = ("cifar10", "places365")
SCALES = ("tiny", "small", "paper")
OPTIONS = {"size": int, "hold_out": int}
OUT = Path("runs")


def open_images(
    text: str,
    *,
    scale: str = "tiny",
    size: int | None = None,
    seed: int = 0,
    out: Path | None = None,
    hold_out: int | None = None,
) -> Images:
    """The images that a text names, ready to train on.

    Without a path, `cifar10` and `places365` are stand-ins at the scales tiny and small: scenes in the
    true format, written once below ``out/data`` and read by the same reader.

    Args:
        text: ``name[:path][,option=value]...``; the drawn ones, scenes, glyphs and digits, take options
            alone: their parameters, and ``train``, ``validation``, ``test`` for the numbers of images.
        scale: tiny, small or paper: how large what is drawn is.
        size: pixels of a side of what the net sees; None for the set's own, 224 for Places365.
        seed: of augmentation, and of drawn images.
        out: folder below which stand-ins are written; None for ``runs``.
        hold_out: images of each class kept from training for validation; 0 for none, None for a fifth,
            at most 500 of CIFAR-10's and 50 of Places365's. Drawn sets have a validation split.

    Raises:
        DataError: no path where one is needed; what lies there is missing, damaged or something else.
        ValueError: no such name, option or scale; a value out of range or given twice.

    >>> images = open_images("scenes:size=32,train=48", scale="tiny")
    >>> images.classes, len(images.train), images.train[0, 7][0].shape, images.plain[7][1]
    (24, 48, torch.Size([3, 32, 32]), 7)
    """
    check_scale(scale)
    named = parse(text)
    if named.name in DRAWN:
        return _drawn(named, scale, size, seed, hold_out)
    if named.name not in READ:
        raise ValueError(f"name must be one of {', '.join((*READ, *DRAWN))}, got {named.name!r}")
    options = typed(named.name, named.options, OPTIONS)
    options = once_each(options, {"size": size, "hold_out": hold_out})
    opened = _cifar10 if named.name == "cifar10" else _places365
    return opened(named.path, scale, options, seed, (out or OUT) / "data")


def check_scale(scale: str) -> None:
    """Raise `ValueError` unless it is tiny, small or paper."""
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")


def once_each(options: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Options of the text and arguments of the call together.

    Raises:
        ValueError: they name the same thing differently.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    for name in options.keys() & given.keys():
        if options[name] != given[name]:
            raise ValueError(f"{name} must be given once, got {options[name]} and {given[name]}")
    return {**options, **given}


def _drawn(named: Named, scale: str, size: int | None, seed: int, hold_out: int | None) -> Images:
    if named.path is not None:
        raise ValueError(f"{named.name} are drawn and take options alone, got {str(named.path)!r}")
    if hold_out is not None:
        raise ValueError(
            f"hold_out must be None for {named.name}, which have validation images, got {hold_out}"
        )
    kinds = open.options_of(named.name)
    options = typed(named.name, named.options, kinds)
    return open.open_drawn(named.name, scale, seed, once_each(options, {"size": size}))


def _cifar10(
    path: Path | None, scale: str, options: dict[str, Any], seed: int, data: Path
) -> Images:
    if options.get("size", 32) != 32:
        raise ValueError(f"size must be 32 for cifar10, got {options['size']}")
    scenes = None
    if path is None:
        stand_in = shown_at(scale, presets.CIFAR10, "cifar10", cifar10.EXPECTED)
        scenes = stand_in.scenes
        path = written(data, "cifar10", stand_in.parameters(), lambda p: write_cifar10(p, stand_in))
    pictures = cifar10.read_cifar10(path)
    held = options.get("hold_out")
    return images_of(
        "cifar10",
        pictures,
        transforms.small_photographs(),
        32,
        seed,
        held,
        cifar10.MOST_HELD_OUT,
        scenes,
    )


def _places365(
    path: Path | None, scale: str, options: dict[str, Any], seed: int, data: Path
) -> Images:
    scenes = None
    size = options.get("size")
    if size is not None:
        check_integer("size", size, 16)
    if path is None:
        stand_in = shown_at(scale, presets.PLACES365, "places365", places365.EXPECTED)
        stand_in = stand_in.at(size)
        scenes, size = stand_in.scenes, stand_in.scenes.size
        path = written(
            data, "places365", stand_in.parameters(), lambda p: write_places365(p, stand_in)
        )
    size = size or places365.SIZE
    pictures = places365.read_places365(path)
    view, held = transforms.photographs(size), options.get("hold_out")
    return images_of("places365", pictures, view, size, seed, held, places365.MOST_HELD_OUT, scenes)
