"""Arguments that commands share, checked as they are parsed."""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch


def at_least(least: int) -> Callable[[str], int]:
    """A type of integers from `least` on.

    >>> at_least(1)("3")
    3
    """

    def integer(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
        return value

    return integer


def folder(text: str) -> Path:
    """A path that is a folder, or may become one."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a folder, got the file {path}")
    return path


def add_seeds(parser: argparse.ArgumentParser, default: list[int] | None, text: str) -> None:
    """Different numbers of at least 0."""

    class Different(argparse.Action):
        def __call__(self, parser, namespace, values, option=None):  # type: ignore[no-untyped-def]
            if len(set(values)) < len(values):
                parser.error(f"{option} must be different numbers, got {values}")
            setattr(namespace, self.dest, values)

    kind = {"type": at_least(0), "nargs": "+", "action": Different, "metavar": "SEED"}
    parser.add_argument("--seeds", "--seed", default=default, help=text, **kind)  # type: ignore[arg-type]


def add_device(parser: argparse.ArgumentParser) -> None:
    """`auto`, `cpu` or `cuda`; `device_of` says which."""
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def device_of(parser: argparse.ArgumentParser, args: argparse.Namespace) -> str:
    """The kind of device: CUDA where there is any, unless told; an end with a message if it is not there."""
    cuda = torch.cuda.is_available()
    if args.device == "cuda" and not cuda:
        parser.error("--device is cuda, but torch sees no CUDA device")
    return ("cuda" if cuda else "cpu") if args.device == "auto" else str(args.device)
