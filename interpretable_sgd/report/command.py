"""`interpretable-sgd report`: read a trained classifier and write one HTML page about it.

    interpretable-sgd report --model torchvision:resnet18 --weights w.safetensors \\
        --images FOLDER --concepts BRODEN_FOLDER --out report.html

Deciding and dissecting go on where they were cut off when the command is repeated.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from interpretable_sgd.analysis.concepts.broden import Broden
from interpretable_sgd.analysis.concepts.folders import MaskFolders
from interpretable_sgd.analysis.concepts.samples import ConceptImages
from interpretable_sgd.analysis.head_search import find_head
from interpretable_sgd.analysis.images import denormalized
from interpretable_sgd.analysis.study.record import Compared, Study
from interpretable_sgd.analysis.study.study import study
from interpretable_sgd.layers.conversion import route
from interpretable_sgd.report.arguments import parse
from interpretable_sgd.report.images import (
    ClassFolders,
    Readable,
    class_order,
    normalized,
    shifted,
    to_input,
)
from interpretable_sgd.report.models import load_model
from interpretable_sgd.report.render import write

STAGES = {
    "decisions": "deciding",
    "dissection": "naming units",
    "dissection below": "naming units below",
    "pictures": "looking for pictures",
    "ablation": "keeping and removing units",
    "stability": "changing images a little",
}


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status: 1 after an error, 130 after Ctrl-C."""
    args = parse(argv, __doc__ or "")
    console = Console(stderr=True)
    try:
        _report(args, console)
    except (ValueError, OSError) as error:
        console.print(f"interpretable-sgd report: {error}", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("stopped; repeat the command to go on")
        return 130
    return 0


def _report(args: argparse.Namespace, console: Console) -> None:
    model = load_model(args.model, args.weights)
    if args.route is not None:
        model = route(model, args.route)
    prepare = partial(
        to_input, size=args.size, resize=args.resize or args.size, mean=args.mean, std=args.std
    )
    folders = ClassFolders(args.images, prepare, args.limit)
    outputs = len(find_head(model, args.head).weight)
    names, order = class_order(folders.classes, _names(args.class_names), outputs)
    loader = Readable(folders, args.batch, args.workers, order)
    concepts = _concepts(args)
    work = args.out.with_name(f".{args.out.name}.work")
    twice = 2 * len(concepts) if concepts is not None else 0
    totals = {"dissection": twice, "dissection below": twice}
    with _progress(console) as progress:
        tasks = {}

        def tell(stage: str, done: int) -> None:
            if stage not in tasks:
                total = totals.get(stage, len(folders))
                tasks[stage] = progress.add_task(STAGES[stage], total=total)
            progress.update(tasks[stage], completed=done)

        found = study(
            model,
            loader,
            class_names=names,
            concepts=concepts,
            layer=args.layer,
            head=args.head,
            below=args.below,
            layer_below=args.layer_below,
            compared=[_compared(path) for path in args.compare],
            augment=shifted,
            name=args.name or args.model.partition(":")[2],
            picture=denormalized(args.mean, args.std),
            prepare=partial(_concept_input, size=args.size, mean=args.mean, std=args.std),
            permutations=args.permutations,
            device=args.device,
            explained=args.explained,
            config=_config(args),
            seed=args.seed,
            checkpoint=work,
            report=tell,
        )
    _save(found, args, console)
    for path in work.glob("*.pt"):
        path.unlink()
    if work.exists():
        work.rmdir()


def _save(found: Study, args: argparse.Namespace, console: Console) -> None:
    say = partial(console.print, markup=False, soft_wrap=True, highlight=False)
    for path, why in found.skipped[:10]:
        say(f"skipped {path}: {why}")
    if len(found.skipped) > 10:
        say(f"skipped {len(found.skipped) - 10} more; the report names them")
    say(f"wrote {write(found, args.out)}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        found.to_json(args.json)
        say(f"wrote {args.json}")
    if args.csv:
        say(f"wrote {len(found.to_csv(args.csv))} tables to {args.csv}")


def _progress(console: Console) -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), *columns, console=console)


def _concept_input(image: Tensor, size: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """A whole concept image as the model's input: not cut, so that its masks stay in place."""
    image = image.float() / 255 if image.dtype == torch.uint8 else image
    image = image.expand(3, -1, -1)[None]
    image = nn.functional.interpolate(image, (size, size), mode="bilinear", antialias=True)
    return normalized(image[0], mean, std)


def _concepts(args: argparse.Namespace) -> ConceptImages | None:
    if args.concepts is None:
        return None
    if args.masks is not None:
        return MaskFolders(args.concepts, args.masks, args.labels)
    return Broden(args.concepts)


def _names(path: Path | None) -> list[str] | None:
    """One name a line."""
    if path is None:
        return None
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _compared(path: Path) -> Compared:
    """A model from the JSON of its report."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        figures = content["figures"]
        weights, accuracy = (figures[key]["value"] for key in ("weights_per_class", "accuracy"))
        return Compared(str(content["model"]), float(weights), float(accuracy))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"compare must be the JSON of a report, and {path} is none") from error


def _config(args: argparse.Namespace) -> dict[str, object]:
    """The command line, as it is to be repeated."""
    return {key: value for key, value in vars(args).items() if value not in (None, [])}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
