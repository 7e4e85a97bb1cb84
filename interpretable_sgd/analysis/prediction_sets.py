"""The prediction set of an image explained: the units that keep each class in it.

Index legend: `n` image, `m` unit, `c` class.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interpretable_sgd.analysis.conformal import SetRule
from interpretable_sgd.analysis.contributions import top_units
from interpretable_sgd.analysis.heads import Head


@dataclass(frozen=True)
class Keeper:
    """A unit that speaks for a class in a set.

    Attributes:
        unit: counted from 0.
        name: of the unit.
        contribution: to the class's logit, above 0.
        is_needed: whether the class leaves the set when this unit alone is taken away.
    """

    unit: int
    name: str
    contribution: float
    is_needed: bool


@dataclass(frozen=True)
class Member:
    """A class in a set, and the units that keep it there, those of the largest contributions first."""

    class_index: int
    name: str
    probability: float
    keepers: tuple[Keeper, ...]

    def __str__(self) -> str:
        kept = [
            f"{unit.name} {unit.contribution:+.2f}{' (needed)' if unit.is_needed else ''}"
            for unit in self.keepers
        ]
        return f"{self.name} ({self.probability:.2f}): {', '.join(kept) or 'no unit'}"


@dataclass(frozen=True)
class PredictionSet:
    """The classes that an image may have.

    Attributes:
        coverage: promised by the rule.
        members: classes of the rule's set, the most likely first; the predicted class always, so that the
            promise is of at least the coverage.
        abstains: whether no unit that the predicted class reads is on, so that nothing was seen to speak for
            it: the decision is then the bias's.
    """

    coverage: float
    members: tuple[Member, ...]
    abstains: bool

    def __str__(self) -> str:
        lines = [f"{self.coverage:.0%} set", *(f"  {member}" for member in self.members)]
        return "\n".join([*lines, *(["  no unit of the first is on"] if self.abstains else [])])


@torch.no_grad()
def sets_of(
    head: Head,
    units: Tensor,
    logits: Tensor,
    rule: SetRule,
    noise: Tensor | None,
    class_names: Sequence[str],
    unit_names: Sequence[str],
    top: int = 5,
) -> list[PredictionSet]:
    """The sets of some images, explained.

    A unit is taken away by setting what the head reads of it to 0; the head then makes all logits anew.

    Args:
        head: makes the logits.
        units: as `Head.read` returns them.
        logits: of the same images, (n, C).
        rule: makes the sets.
        noise: see `SetRule.sets`.
        class_names: of all classes.
        unit_names: of all units.
        top: units named of each class, at least 1.
    """

    def members(logits: Tensor, noise: Tensor | None) -> Tensor:
        held = rule.sets(head.probabilities(logits), noise)
        return held.scatter_(1, logits.argmax(1, keepdim=True), True)

    probabilities = head.probabilities(logits)
    found = []
    for n, held in enumerate(members(logits, noise)):
        order = [c for c in probabilities[n].argsort(descending=True).tolist() if held[c]]
        classes = torch.tensor(order, device=logits.device)
        parts = head.parts(units[n : n + 1].expand(len(order), *units.shape[1:]), classes)
        kept = top_units(parts.clamp(min=0), top)
        named = sorted(set(kept.flatten().tolist()) - {-1})
        without = units[n : n + 1].repeat(len(named), *[1] * (units.dim() - 1))
        without[range(len(named)), named] = 0
        own = None if noise is None else noise[n].expand(len(named))
        still = dict(zip(named, members(head.logits(without), own) if named else [], strict=True))
        found.append(
            PredictionSet(
                rule.coverage,
                tuple(
                    Member(
                        c,
                        class_names[c],
                        float(probabilities[n, c]),
                        tuple(
                            Keeper(m, unit_names[m], float(parts[i, m]), not still[m][c])
                            for m in kept[i].tolist()
                            if m >= 0
                        ),
                    )
                    for i, c in enumerate(order)
                ),
                abstains=not parts[0].any(),
            )
        )
    return found
