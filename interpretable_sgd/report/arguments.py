"""Arguments of `interpretable-sgd report`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

# ImageNet's, as torchvision's models expect
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def parse(argv: Sequence[str], description: str) -> argparse.Namespace:
    """What was asked for, checked; exits with a message where it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="interpretable-sgd report",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", required=True, help="torchvision:NAME, or MODULE:CALLABLE of no arguments")
    add("--weights", type=Path, help="state dict: .safetensors, or what torch.save wrote")
    add("--route", type=int, metavar="K", help="put a Dynamic-K layer in place of the head")
    add("--images", type=Path, required=True, help="folder with a folder of images for each class")
    add(
        "--class-names",
        type=Path,
        metavar="FILE",
        help="names of all outputs, one a line, in order",
    )
    add(
        "--concepts",
        type=Path,
        metavar="FOLDER",
        help="Broden folder, or images if --masks is given",
    )
    add("--masks", type=Path, metavar="FOLDER", help="label images of the --concepts images")
    add("--labels", type=Path, metavar="CSV", help="table of the labels in --masks")
    add("--out", type=Path, required=True, metavar="HTML", help="page to write")
    add("--json", type=Path, metavar="FILE", help="also write all numbers")
    add("--csv", type=Path, metavar="FOLDER", help="also write a table for each picture")
    add(
        "--compare",
        type=Path,
        nargs="+",
        default=[],
        metavar="JSON",
        help="of other models' reports",
    )
    add("--name", help="of the model, on the page")
    add("--head", metavar="LAYER", help="layer that makes the logits (found if not named)")
    add(
        "--layer",
        metavar="LAYER",
        help="layer whose maps are the head's units (found if not named)",
    )
    add("--below", metavar="LAYER", help="layer that makes these units, to go one level down")
    add("--layer-below", metavar="LAYER", help="whose maps --below reads, to name them too")
    add("--device", help="cpu, cuda, ... (default cuda if there is one)")
    add("--size", type=int, default=224, help="side of the model's input (default 224)")
    add("--resize", type=int, help="shorter side before the centre is cut out (default --size)")
    add("--mean", type=float, nargs="+", default=MEAN, help="of the inputs' normalisation")
    add("--std", type=float, nargs="+", default=STD, help="of the inputs' normalisation")
    add("--batch", type=int, default=64, help="images of a batch (default 64)")
    add("--workers", type=int, default=0, help="processes that read images (default 0: none)")
    add("--limit", type=int, metavar="N", help="at most N images, spread evenly")
    add("--explained", type=int, default=6, metavar="N", help="images to explain (default 6)")
    add("--permutations", type=int, default=99, metavar="N", help="of the label null (default 99)")
    add("--seed", type=int, default=0, help="of the label null (default 0)")
    args = parser.parse_args(argv)
    for name, least in (("size", 1), ("resize", 1), ("batch", 1), ("workers", 0), ("limit", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            parser.error(f"--{name} must be at least {least}, got {value}")
    for name in ("mean", "std"):
        if len(getattr(args, name)) not in (1, 3):
            parser.error(f"--{name} must be 1 or 3 numbers, got {len(getattr(args, name))}")
    if (args.masks is None) != (args.labels is None) or (args.masks and args.concepts is None):
        parser.error("--masks and --labels must be given together, with --concepts")
    if args.device is None:
        args.device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=args.device)
    except (RuntimeError, AssertionError) as error:
        parser.error(f"--device must be one that torch sees, got {args.device}: {error}")
    return args
