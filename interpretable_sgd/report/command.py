"""`interpretable-sgd report`: read a trained classifier and write one HTML page about it.

    interpretable-sgd report --model torchvision:resnet18 --weights w.safetensors \\
        --images FOLDER --concepts BRODEN_FOLDER --out report.html

Deciding and dissecting go on where they were cut off when the command is repeated.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from interpretable_sgd.analysis.checkpoints import CheckpointError
from interpretable_sgd.analysis.concepts.broden import Broden
from interpretable_sgd.analysis.concepts.files import printable
from interpretable_sgd.analysis.concepts.folders import MaskFolders
from interpretable_sgd.analysis.concepts.table import ConceptImages
from interpretable_sgd.analysis.edits import edits_of
from interpretable_sgd.analysis.head_search import find_head
from interpretable_sgd.analysis.images import denormalized
from interpretable_sgd.analysis.study.record import Compared, Study
from interpretable_sgd.analysis.study.study import study
from interpretable_sgd.layers.conversion import route
from interpretable_sgd.report.arguments import MEAN, STD, parse
from interpretable_sgd.report.images import (
    ClassFolders,
    Readable,
    channels_read,
    class_order,
    concept_input,
    shifted,
    to_input,
)
from interpretable_sgd.report.model_card import write_card
from interpretable_sgd.report.models import load_model
from interpretable_sgd.report.render import write
from interpretable_sgd.report.summary_text import closing_lines

STAGES = {
    "decisions": "deciding",
    "dissection": "naming units",
    "dissection below": "naming units below",
    "calibration": "learning how sure it is",
    "sets": "making sets of classes",
    "pictures": "looking for pictures",
    "ablation": "keeping and removing units",
    "stability": "changing images a little",
    "beside": "deciding with the second model",
}


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status: 1 after an error, 2 for wrong arguments, 130 after Ctrl-C."""
    try:
        args = parse(argv, __doc__ or "")
    except SystemExit as stopped:
        return int(stopped.code or 0)
    console = Console(stderr=True)
    say = partial(console.print, markup=False, soft_wrap=True, highlight=False)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: say(f"warning: {message}")
            _report(args, console, say)
    except KeyboardInterrupt:
        say("stopped; repeat the command to go on")
        return 130
    # A user's model, images and tables raise anything; --traceback says where.
    except Exception as error:
        if args.traceback:
            raise
        kind = (
            ""
            if isinstance(error, (ValueError, TypeError, OSError))
            else f"{type(error).__name__}: "
        )
        say(f"interpretable-sgd report: {kind}{printable(' '.join(str(error).split()))}")
        return 1
    return 0


def _report(args: argparse.Namespace, console: Console, say: Callable[[str], None]) -> None:
    compared = [_compared(path) for path in args.compare]
    model = load_model(args.model, args.weights)
    if args.route is not None:
        model = route(model, args.route)
    made = () if args.weights is None else edits_of(args.weights)
    edits = {"edits": list(map(str, made))} if made else {}
    beside = None
    if args.beside is not None:
        beside = load_model(args.beside_model or args.model, args.beside)
    _complete(args, model)
    shape = {"size": args.size, "mean": args.mean, "std": args.std, "channels": args.channels}
    prepare = partial(to_input, resize=args.resize, **shape)
    folders = ClassFolders(args.images, prepare, args.limit)
    head = find_head(model, args.head, _first_inputs(model, folders, args))
    unit_names = _lines(args.unit_names)
    given = _lines(args.class_names)
    if given is not None and head.is_binary and len(given) == 1:
        given = [f"not {given[0]}", given[0]]
    names, order, reason = class_order(folders.classes, given, len(head.weight))
    loader = Readable(folders, args.batch, args.workers, order)
    calibration = _calibration(args, folders, prepare, order)
    concepts = _concepts(args)
    work = args.out.with_name(f".{args.out.name}.work")

    def run() -> Study:
        with _progress(console) as progress:
            return study(
                model,
                loader,
                class_names=names,
                unit_names=unit_names,
                calibration=calibration,
                concepts=concepts,
                layer=args.layer,
                head=head,
                below=args.below,
                layer_below=args.layer_below,
                compared=compared,
                beside=beside,
                beside_name="" if args.beside is None else args.beside.stem,
                augment=shifted,
                name=args.name or _name(args.model, model),
                picture=denormalized(args.mean, args.std),
                prepare=partial(concept_input, **shape),
                permutations=args.permutations,
                device=args.device,
                explained=args.explained,
                config=_config(args) | {"class order": reason} | edits,
                seed=args.seed,
                checkpoint=work,
                report=_teller(progress, len(folders), concepts),
            )

    is_resumed = work.is_dir()
    try:
        found = run()
    except CheckpointError as error:
        if not is_resumed:
            raise
        # what was kept is of other inputs: numbers of both would be mixed
        say(f"starting anew: {printable(error)}")
        _remove(work)
        found = run()
    _save(found, args, say)
    for line in closing_lines(found, reason, [printable(folder) for folder in folders.classes]):
        say(line)
    _remove(work)


def _calibration(
    args: argparse.Namespace,
    folders: ClassFolders,
    prepare: Callable[[Image.Image], Tensor],
    order: Sequence[int],
) -> Readable | None:
    """Images of the same classes that sets are calibrated on."""
    if args.calibration is None:
        return None
    other = ClassFolders(args.calibration, prepare)
    if other.classes != folders.classes:
        raise ValueError(
            f"--calibration must have the class folders of --images, {', '.join(folders.classes[:5])}, "
            f"got {', '.join(other.classes[:5])}"
        )
    return Readable(other, args.batch, args.workers, order)


def _remove(work: Path) -> None:
    """Remove the checkpoints of a run, and their folder if it holds nothing else."""
    for path in (*work.glob("*.pt"), *work.glob("*.pt.other")):
        path.unlink()
    if work.is_dir() and not any(work.iterdir()):
        work.rmdir()


def _complete(args: argparse.Namespace, model: nn.Module) -> None:
    """Defaults that follow from the model: channels, and a normalisation for them."""
    args.channels = args.channels or channels_read(model)
    args.resize = args.resize or args.size
    colour = args.channels == 3
    args.mean = list(args.mean or (MEAN if colour else (0.0,)))
    args.std = list(args.std or (STD if colour else (1.0,)))
    for name in ("mean", "std"):
        if len(getattr(args, name)) not in (1, args.channels):
            raise ValueError(
                f"--{name} must be 1 or {args.channels} numbers, one for each channel of the "
                f"model's input, got {len(getattr(args, name))}"
            )


def _first_inputs(model: nn.Module, folders: ClassFolders, args: argparse.Namespace) -> Tensor:
    """Two inputs that the model was run on, before any long pass.

    Raises:
        ValueError: none of the first images can be read, or the model cannot be run on them.
    """
    inputs, why = [], ("", "")
    for index in range(len(folders)):
        image, _, path, reason = folders[index]
        if image is not None:
            inputs.append(image)
        else:
            why = path, reason
        if len(inputs) == 2:
            break
    if not inputs:
        raise ValueError(
            f"at least one image must be readable, none is; {printable(why[0])}: {why[1]}"
        )
    batch = torch.stack(inputs)
    try:
        with torch.no_grad():
            model(batch)
    except Exception as error:
        shape = " x ".join(map(str, batch.shape[1:]))
        raise ValueError(
            f"the model must run on images of {shape} (--channels, --size), it raised "
            f"{type(error).__name__}: {error}"
        ) from error
    return batch


def _name(spec: str, model: nn.Module) -> str:
    """A name for the page: of the architecture; of the callable where it builds a bare Sequential."""
    source, _, name = spec.partition(":")
    kind = type(model).__name__
    return name if source == "torchvision" or kind == "Sequential" else kind


def _teller(
    progress: Progress, images: int, concepts: ConceptImages | None
) -> Callable[[str, int], None]:
    """Shows the progress of each stage in a bar of its own."""
    twice = 2 * len(concepts) if concepts is not None else 0
    totals = {"dissection": twice, "dissection below": twice}
    tasks = {}

    def tell(stage: str, done: int) -> None:
        if stage not in tasks:
            tasks[stage] = progress.add_task(STAGES[stage], total=totals.get(stage, images))
        progress.update(tasks[stage], completed=done)

    return tell


def _save(found: Study, args: argparse.Namespace, say: Callable[[str], None]) -> None:
    for path, why in found.skipped[:10]:
        say(f"skipped {path}: {why}")
    if len(found.skipped) > 10:
        say(f"skipped {len(found.skipped) - 10} more; the report names them")
    say(f"wrote {printable(write(found, args.out))}")
    if args.json:
        found.to_json(args.json)
        say(f"wrote {printable(args.json)}")
    if args.card:
        say(f"wrote {printable(write_card(found, args.card))}")
    if args.csv:
        say(f"wrote {len(found.to_csv(args.csv))} tables to {printable(args.csv)}")


def _progress(console: Console) -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), *columns, console=console)


def _concepts(args: argparse.Namespace) -> ConceptImages | None:
    if args.concepts is None:
        return None
    if args.masks is not None:
        return MaskFolders(args.concepts, args.masks, args.labels, args.ignore)
    return Broden(args.concepts)


def _lines(path: Path | None) -> list[str] | None:
    """One name a line."""
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be text in UTF-8: {error}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _compared(path: Path) -> Compared:
    """A model from the JSON of its report."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        figures = content["figures"]
        weights, accuracy = (figures[key]["value"] for key in ("weights_per_class", "accuracy"))
        return Compared(str(content["model"]), float(weights), float(accuracy))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"compare must be the JSON of a report, and {path} is none") from error


def _config(args: argparse.Namespace) -> dict[str, object]:
    """The command line, as it is to be repeated."""
    return {
        key: value
        for key, value in vars(args).items()
        if value is not None and value is not False and value != []
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
