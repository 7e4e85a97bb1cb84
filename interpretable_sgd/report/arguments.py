"""Arguments of `interpretable-sgd report`, checked before anything is read."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch

# ImageNet's, as torchvision's models expect; images of other channels are left in [0, 1]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AT_LEAST = {
    **{"size": 1, "resize": 1, "batch": 1, "workers": 0, "limit": 1},
    **{"explained": 0, "permutations": 0, "seed": 0, "route": 1},
}


def parse(argv: Sequence[str], description: str) -> argparse.Namespace:
    """What was asked for, checked; exits with a message where it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="interpretable-sgd report",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_model(parser)
    _add_images(parser)
    _add_output(parser)
    _add_details(parser)
    args = parser.parse_args(argv)
    for name, least in AT_LEAST.items():
        value = getattr(args, name)
        if value is not None and value < least:
            parser.error(f"--{name} must be at least {least}, got {value}")
    if args.resize is not None and args.resize < args.size:
        parser.error(f"--resize must be at least --size, {args.size}, got {args.resize}")
    if 0 < args.permutations < 19:
        parser.error(
            f"--permutations must be 0 or at least 19, to reach 5 %, got {args.permutations}"
        )
    for name in ("mean", "std"):
        own = getattr(args, name)
        allowed = (1, 3) if args.channels is None else (1, args.channels)
        if own is not None and len(own) not in allowed:
            counts = " or ".join(map(str, sorted(set(allowed))))
            parser.error(f"--{name} must be {counts} numbers, got {len(own)}")
    if args.std is not None and min(map(abs, args.std)) == 0:
        parser.error("--std must not be 0")
    if (args.masks is None) != (args.labels is None) or (args.masks and args.concepts is None):
        parser.error("--masks and --labels must be given together, with --concepts")
    if args.beside_model is not None and args.beside is None:
        parser.error("--beside-model needs --beside")
    if args.card is not None and args.card.suffix not in (".md", ".json"):
        parser.error(f"--card must end in .md or .json, got {args.card}")
    for name in ("out", "json", "card"):
        _check_file(parser, name, getattr(args, name))
    if args.csv is not None and args.csv.exists() and not args.csv.is_dir():
        parser.error(f"--csv must be a folder, and {args.csv} is a file")
    if args.device is None:
        args.device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=args.device)
    except (RuntimeError, AssertionError) as error:
        parser.error(f"--device must be one that torch sees, got {args.device}: {error}")
    return args


def _add_model(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("model").add_argument
    add("--model", required=True, help="torchvision:NAME, or MODULE:CALLABLE of no arguments")
    add("--weights", type=Path, help="state dict: .safetensors, or what torch.save wrote")
    add("--route", type=int, metavar="K", help="put a Dynamic-K layer in place of the head")
    add("--name", help="of the model, on the page")
    add("--head", metavar="LAYER", help="layer that makes the logits (found if not named)")
    add(
        "--layer",
        metavar="LAYER",
        help="layer whose maps are the head's units (found if not named)",
    )
    add("--below", metavar="LAYER", help="layer that makes these units, to go one level down")
    add("--layer-below", metavar="LAYER", help="whose maps --below reads, to name them too")


def _add_images(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("images").add_argument
    add("--images", type=Path, required=True, help="folder with a folder of images for each class")
    add(
        "--class-names",
        type=Path,
        metavar="FILE",
        help="names of all outputs, one a line, in order (default: the folders, alphabetically)",
    )
    add("--size", type=int, default=224, help="side of the model's input (default 224)")
    add("--resize", type=int, help="shorter side before the centre is cut out (default --size)")
    add(
        "--channels",
        type=int,
        choices=(1, 2, 3, 4),
        help="of the model's input: grey, grey and alpha, RGB, RGB and alpha (default: those of "
        "its first convolution)",
    )
    normalisation = "of the inputs' normalisation (default ImageNet's {} for RGB, else {})"
    add(
        "--mean",
        type=float,
        nargs="+",
        help=normalisation.format(" ".join(map(str, MEAN)), 0),
    )
    add("--std", type=float, nargs="+", help=normalisation.format(" ".join(map(str, STD)), 1))
    add("--limit", type=int, metavar="N", help="at most N images, spread evenly")
    add(
        "--calibration",
        type=Path,
        metavar="FOLDER",
        help="folders of other images that were not trained on, to say by sets of classes how sure it is",
    )
    group = parser.add_argument_group("names of units").add_argument
    group(
        "--concepts",
        type=Path,
        metavar="FOLDER",
        help="Broden folder, or images if --masks is given",
    )
    group("--masks", type=Path, metavar="FOLDER", help="label images of the --concepts images")
    group("--labels", type=Path, metavar="CSV", help="table of the labels in --masks")
    group(
        "--ignore",
        type=int,
        nargs="+",
        default=[],
        metavar="NUMBER",
        help="labels in --masks that mean unlabelled, such as 255; 0 always does",
    )
    group(
        "--unit-names",
        type=Path,
        metavar="FILE",
        help="names of the units that the head reads, one a line, in order",
    )
    group(
        "--permutations",
        type=int,
        default=99,
        metavar="N",
        help="of the label null (default 99)",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("output").add_argument
    add("--out", type=Path, required=True, metavar="HTML", help="page to write")
    add("--json", type=Path, metavar="FILE", help="also write all numbers")
    add("--card", type=Path, metavar="FILE", help="also write a model card, .md or .json")
    add("--csv", type=Path, metavar="FOLDER", help="also write a table for each picture")
    add(
        "--compare",
        type=Path,
        nargs="+",
        default=[],
        metavar="JSON",
        help="of other models' reports",
    )
    add(
        "--beside",
        type=Path,
        metavar="WEIGHTS",
        help="of a second model, compared side by side on the same images",
    )
    add(
        "--beside-model",
        metavar="MODEL",
        help="its kind, as --model (default: that of --model)",
    )
    add("--explained", type=int, default=6, metavar="N", help="images to explain (default 6)")


def _add_details(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("details").add_argument
    add("--device", help="cpu, cuda, ... (default cuda if there is one)")
    add("--batch", type=int, default=64, help="images of a batch (default 64)")
    add("--workers", type=int, default=0, help="processes that read images (default 0: none)")
    add("--seed", type=int, default=0, help="of the label null (default 0)")
    add("--traceback", action="store_true", help="show where an error was raised")


def _check_file(parser: argparse.ArgumentParser, name: str, path: Path | None) -> None:
    """Exit unless a file can be written there."""
    if path is None:
        return
    if path.is_dir() or not path.name:
        parser.error(f"--{name} must be a file, and {path} is a folder")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        parser.error(f"--{name} must be in a folder, and {above} is a file")
    if not os.access(above, os.W_OK | os.X_OK):
        parser.error(f"--{name} must be in a folder that can be written to, {above} cannot")
