"""Can a shortcut be edited away? Scenes with a mark that goes with one class in training alone.

    python -m experiments shortcut [--seeds 0 1 2 3 4] [--out runs/shortcut]

Of a net of InterpretableSGD and of one of SGD, at most three units are disabled, in one class or in
all, chosen on validation images whose marks are known; test images are read once, with the edits
made. What was found: docs/results/shortcut.md.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from experiments.arguments import add_seeds, folder
from experiments.datasets.dataset import LabelledData
from experiments.datasets.synthetic.marked import MARKED_CLASS, MarkedScenes
from experiments.evaluation.metrics import batches
from experiments.launch import train_all
from experiments.methods import DENSE, OURS
from experiments.models.registry import Model
from experiments.recipes import Recipe
from experiments.run import Environment, Protocol, Run
from experiments.store import Stored, write_lines
from experiments.tables import plain
from interpretable_sgd import analysis

DATA = "marked:marked=0.9,train=3000,validation=1500,test=2000"
NET = Model("small_resnet", {"strides": (2, 2, 2)})
SHORT = Recipe(epochs=8, batch=64, lr=0.2, channels_last=True)
UNITS = 3  # that may be edited
HELD = (0.0, 0.5, 1.0)
COST = 0.01  # of validation accuracy as in training, that an edit may cost


def grid(seeds: Sequence[int], data: str = DATA, recipe: Recipe = SHORT) -> list[Run]:
    """Both methods with every seed; no test image is read in training or evaluation."""
    return [
        Run(data, NET, method, recipe, Protocol("validation"), "shortcut", seed)
        for seed in seeds
        for method in (DENSE, OURS)
    ]


def editor_of(model: torch.nn.Module, data: LabelledData, split: str) -> analysis.Editor:
    """On a split, with four groups: whether an image is of the marked class, and whether it is marked."""
    assert isinstance(data.source, MarkedScenes)
    loader = list(batches(data.split(split)))
    labels = torch.cat([labels for _, labels in loader])
    marks = data.source.marks(split, len(labels))
    return analysis.edit(model, loader, groups=groups_of(labels, marks))


def groups_of(labels: Tensor, marks: Tensor) -> list[str]:
    """A name for each image.

    >>> groups_of(torch.tensor([0, 3]), torch.tensor([True, False]))
    ['marked class, mark', 'other classes, no mark']
    """
    return [
        f"{'marked class' if label == MARKED_CLASS else 'other classes'}, {'mark' if m else 'no mark'}"
        for label, m in zip(labels.tolist(), marks.tolist(), strict=True)
    ]


def as_in_training(effect: analysis.Effect) -> tuple[float, float]:
    """Accuracy before and after on images as training has them: the class with its mark, others without."""
    subjects = effect.subjects
    usual = ("marked class, mark", "other classes, no mark")
    places = [i for i, name in enumerate(subjects.group_names) if name in usual]
    chosen = torch.isin(subjects.groups, torch.tensor(places))
    right = [subjects.right(logits)[chosen] for logits in (effect.logits_before, effect.logits)]
    return float(right[0].mean()), float(right[1].mean())


def chosen_edits(editor: analysis.Editor) -> list[analysis.Edit]:
    """At most three units, one after another that which raises the mean accuracy of the groups most.

    A unit is disabled in all classes, or in the marked one alone, held there at 0, at half or at all of its
    mean over the images of that class. What costs more than a point of accuracy on images as in training
    is not done.
    """
    read = editor.head.weight.abs() >= 1e-3
    units = torch.cat(editor.units)
    means = units[editor.subjects.labels == MARKED_CLASS].mean(0)
    wanted = [analysis.Edit("disable", m) for m in read.any(0).nonzero()[:, 0].tolist()]
    wanted += [
        analysis.Edit("disable", m, MARKED_CLASS, held=share * float(means[m]))
        for m in read[MARKED_CLASS].nonzero()[:, 0].tolist()
        for share in HELD
    ]
    for _ in range(UNITS):
        found = []
        for edit in wanted:
            effect = editor.add(edit).effect()
            editor.undo()
            before, after = as_in_training(effect)
            if before - after <= COST:
                found.append((float(effect.after.by_group.mean()), edit))
        best, edit = max(found, key=lambda pair: pair[0], default=(0.0, wanted[0]))
        if best <= float(editor.effect().after.by_group.mean()):
            break
        editor.add(edit)
    return editor.edits


def judged(run: Stored, data: LabelledData) -> dict[str, Any]:
    """The edits chosen on validation images, and what they do on test images."""
    model = NET.build(data.shape, data.classes)
    model.load_state_dict(run.weights())
    edits = chosen_edits(editor_of(model, data, "validation"))
    tested = editor_of(model, data, "test").add(*edits)
    effect, measured = tested.effect(), tested.measure()
    usual = as_in_training(effect)
    return {
        "method": run["method"],
        "seed": run["seed"],
        "edits": list(map(str, edits)),
        "units": len({edit.unit for edit in edits}),
        "worst_before": effect.worst_group[0],
        "worst_after": effect.worst_group[1],
        "all_before": effect.before.overall,
        "all_after": effect.after.overall,
        "usual_before": usual[0],
        "usual_after": usual[1],
        "groups": {
            name: [float(effect.before.by_group[i]), float(effect.after.by_group[i])]
            for i, name in enumerate(effect.subjects.group_names)
        },
        "flipped": len(effect.flipped),
        "prediction_error": float((effect.logits - measured.logits).abs().max()),
        "same_flips": torch.equal(effect.flipped, measured.flipped),
        "weights_per_class": run["weights_per_class"],
        "seconds": run["seconds"],
    }


def shown(records: Sequence[dict[str, Any]]) -> Table:
    """One row a net."""
    found = plain("test images; worst of four groups; usual: images as in training")
    for name in ("optimizer", "seed", "worst", "then", "usual", "then", "all", "then", "edits"):
        found.add_column(name)
    for record in records:
        numbers = [f"{record[k]:.1%}" for k in record if k.endswith(("_before", "_after"))]
        order = [0, 1, 4, 5, 2, 3]
        found.add_row(
            record["method"],
            str(record["seed"]),
            *(numbers[i] for i in order),
            "; ".join(record["edits"]) or "none",
        )
    return found


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments shortcut", description=__doc__)
    parser.add_argument("--out", type=folder, default=Path("runs/shortcut"))
    add_seeds(parser, [0, 1, 2, 3, 4], "one net of each method for each seed")
    parser.add_argument("--quick", action="store_true", help="few images, to see it work")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    console, environment = Console(width=160), Environment(args.out)
    runs = grid(args.seeds)
    if args.quick:
        few = "marked:marked=0.9,train=256,validation=128,test=128"
        runs = grid(args.seeds, few, SHORT.scaled(0.01))
    failures = train_all(runs, [environment], console)
    for label, message in failures:
        console.print(f"{label} failed: {message}", style="red", markup=False)
    records = [
        judged(stored, environment.data(run))
        for run in runs
        if (stored := run.stored(environment)) is not None
    ]
    console.print(shown(records))
    write_lines(args.out / "shortcut.json", records)
    console.print(f"wrote {args.out / 'shortcut.json'}", style="dim")
    return 1 if failures else 0
