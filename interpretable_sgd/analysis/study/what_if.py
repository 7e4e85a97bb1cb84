"""What single edits of a studied head would do, on the images whose units a study keeps."""

from collections.abc import Sequence

from torch import Tensor, nn

from interpretable_sgd.analysis.decisions import Decisions
from interpretable_sgd.analysis.edits import Edit
from interpretable_sgd.analysis.effects import Subjects
from interpretable_sgd.analysis.heads import Head
from interpretable_sgd.analysis.study.cards import ClassCard, UnitCard
from interpretable_sgd.analysis.table import Table
from interpretable_sgd.analysis.what_if import what_if_table

UNITS, MOST = 40, 240  # units, and edits in all, of a table
WORK = 4e10  # products that all edits may take


def what_if(
    head: Head,
    decisions: Decisions,
    units: Sequence[UnitCard],
    classes: Sequence[ClassCard],
    groups: Tensor,
    group_names: tuple[str, ...],
) -> dict[str, Table]:
    """Each unit on a class's card disabled, and each of its connections there; the heaviest units.

    Args:
        head: of the model.
        decisions: on a data set.
        units: cards of all units.
        classes: cards of all classes.
        groups: of all images, (N,), int64.
        group_names: of the groups; none without any.

    Returns:
        By name; none for a head that decides at every position, whose maps a study does not keep.
    """
    if not (isinstance(head.layer, nn.Linear) or head.is_additive) or not len(decisions.sample):
        return {}
    read = {use.unit for card in classes for use in card.uses}
    heaviest = sorted(read, key=lambda m: -units[m].mass)[:UNITS]
    uses = [(use, card.index) for card in classes for use in card.uses if use.unit in heaviest]
    uses.sort(key=lambda pair: -abs(pair[0].contribution))
    wanted = [Edit("disable", m) for m in heaviest]
    wanted += [Edit("disable", use.unit, c) for use, c in uses]
    size = decisions.sample_units.numel() * len(classes)
    names = tuple(card.name for card in classes)
    chosen = decisions.sample
    found = what_if_table(
        head,
        list(decisions.sample_units.to(head.weight.dtype).split(500)),
        Subjects(decisions.labels[chosen], names, groups[chosen], group_names),
        wanted[: min(MOST, max(1, int(WORK / size)))],
        [unit.title for unit in units],
    )
    return {"what_if": found}
