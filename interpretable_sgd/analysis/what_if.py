"""Decisions as they would be if a head were edited, from what it has read: the layers below do not run.

Index legend: `n` image, `m` unit (input of the head), `c` class, `o` output of the head.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from interpretable_sgd.analysis.edits import Edit, edited
from interpretable_sgd.analysis.effects import Subjects, effect
from interpretable_sgd.analysis.heads import Head
from interpretable_sgd.analysis.table import Table, table

COLUMNS = (
    *("unit", "name", "class", "class name", "accuracy", "change"),
    *("decided otherwise", "for the better", "for the worse"),
    *("most changed class", "change in class", "worst group", "change of worst group"),
)


@contextmanager
def written(head: Head, edits: Sequence[Edit]) -> Iterator[None]:
    """The head with the edits inside, and bit for bit as it was afterwards."""
    before = parameters(head)
    write(head, *edited(*before, edits))
    try:
        yield
    finally:
        write(head, *before)


def parameters(head: Head) -> tuple[Tensor, Tensor]:
    """Copies of the layer's own W, (O, M), and b, (O,); zeros where it has none."""
    weight, bias = head.layer.weight.detach().flatten(1).clone(), head.layer.bias
    return weight, weight.new_zeros(len(weight)) if bias is None else bias.detach().clone()


@torch.no_grad()
def write(head: Head, weight: Tensor, bias: Tensor) -> None:
    """Put W and b into the layer."""
    head.layer.weight.copy_(weight.view_as(head.layer.weight))
    if head.layer.bias is not None:
        head.layer.bias.copy_(bias)


@torch.no_grad()
def logits_after(head: Head, units: Sequence[Tensor], edits: Sequence[Edit]) -> Tensor:
    """Logits of the edited head, by its own forward, (N, C), on the CPU.

    Args:
        head: left as it was.
        units: batches of what it reads, as `Head.read` returns them.
        edits: in their order.
    """
    place = head.weight.device
    with written(head, edits):
        return torch.cat([head.logits(batch.to(place)).cpu() for batch in units])


def what_if_table(
    head: Head,
    units: Sequence[Tensor],
    subjects: Subjects,
    wanted: Sequence[Edit],
    names: Sequence[str],
    edits: Sequence[Edit] = (),
) -> Table:
    """What each of some edits alone would do, the largest effects first.

    Args:
        head: left as it was.
        units: batches of what it reads.
        subjects: their images.
        wanted: the edits.
        names: of all units.
        edits: made before, whose logits are what is compared with.

    >>> from torch import nn
    >>> head = Head(nn.Linear(2, 2), "fc")
    >>> images = Subjects(torch.tensor([0, 1]), ("cat", "dog"), torch.empty(0).long(), ())
    >>> found = what_if_table(head, [torch.eye(2)], images, [Edit("disable", 0, 1)], ["fur", "tail"])
    >>> found.column("name"), found.column("class name")
    (['fur'], ['dog'])
    """
    before = logits_after(head, units, edits)
    rows: list[list[Any]] = []
    classes = subjects.class_names
    for edit in wanted:
        found = effect(str(edit), subjects, before, logits_after(head, units, [*edits, edit]))
        moved = found.after.by_class - found.before.by_class
        most, c = int(moved.abs().nan_to_num(-1).argmax()), edit.in_class
        worst, worse = found.worst_group
        rows.append(
            [
                *(edit.unit, names[edit.unit], c, None if c is None else classes[c]),
                *(found.after.overall, found.change),
                *(len(found.flipped), found.gained, found.lost),
                *(classes[most], moved[most], worse, worse - worst),
            ]
        )
    rows.sort(key=itemgetter(6), reverse=True)
    return table(
        "What if a unit, or one connection, were disabled",
        COLUMNS,
        rows,
        {
            "accuracy": f"with it disabled, on {len(before)} images",
            "class": "whose connection is disabled; none where the unit is, in all classes",
            "change": "of accuracy, as a share of 1",
            "decided otherwise": "images whose decision changes",
            "most changed class": "whose accuracy, among its own images, changes most",
        },
    )
