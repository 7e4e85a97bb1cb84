"""What there is to say of each unit, on a card of its own.

Index legend: `m` unit.
"""

from dataclasses import dataclass

from interpretable_sgd.analysis.decisions import Decisions
from interpretable_sgd.analysis.dissection.result import Dissection
from interpretable_sgd.analysis.dissection.scores import DETECTOR
from interpretable_sgd.analysis.sparsity import readers


@dataclass(frozen=True)
class UnitCard:
    """One unit of the head.

    Attributes:
        unit: counted from 0.
        label: its best concept; None without a dissection, or where it meets no concept.
        category: of that concept.
        iou: with it.
        chance: what chance gives: the null's 95 % quantile; None without a null.
        p_value: of the label under the null.
        classes: number of classes whose |weight| is at least 1e-3.
        activity: share of images where the unit is above 0.
        mass: mean share of the unit in sum |contribution| of the predicted class.
    """

    unit: int
    label: str | None
    category: str | None
    iou: float | None
    chance: float | None
    p_value: float | None
    classes: int
    activity: float
    mass: float

    @property
    def is_detector(self) -> bool:
        """Whether the IoU reaches 0.04."""
        return self.label is not None and (self.iou or 0) >= DETECTOR

    @property
    def is_trusted(self) -> bool:
        """Whether it is a detector, and its label more than chance; without a null the first alone."""
        return self.is_detector and (self.chance is None or (self.iou or 0) > self.chance)

    @property
    def title(self) -> str:
        """Its label if that is to be believed, else its number."""
        return str(self.label) if self.is_trusted else f"unit {self.unit}"


def unit_cards(decisions: Decisions, dissection: Dissection | None = None) -> tuple[UnitCard, ...]:
    """Cards of all units of the head, in order.

    Args:
        decisions: on a data set.
        dissection: of the layer whose maps are the head's units.

    Raises:
        ValueError: the dissected layer has another number of units.
    """
    units = decisions.weight.shape[1]
    if dissection is not None and dissection.units != units:
        raise ValueError(f"dissection must be of {units} units, got {dissection.units}")
    classes = readers(decisions.weight).tolist()
    activity, mass = decisions.activity.tolist(), decisions.mass.tolist()
    labels = [_label(dissection, m) for m in range(units)]
    return tuple(UnitCard(m, *labels[m], classes[m], activity[m], mass[m]) for m in range(units))


def _label(
    dissection: Dissection | None, m: int
) -> tuple[str | None, str | None, float | None, float | None, float | None]:
    if dissection is None:
        return None, None, None, None, None
    label = int(dissection.label[m])
    concept = dissection.table.concepts[label] if label >= 0 else None
    has_null = len(dissection.null) > 0
    return (
        concept.title if concept else None,
        concept.category if concept else None,
        float(dissection.best[m]),
        float(dissection.null_quantile()[m]) if has_null else None,
        float(dissection.p_value[m]) if has_null else None,
    )


def unit_titles(dissection: Dissection | None) -> list[str] | None:
    """What the units of any layer are called: a label to be believed, else the number."""
    if dissection is None:
        return None
    trusted = dissection.detectors()
    if len(dissection.null):
        trusted = trusted & dissection.significant()
    return [
        str(dissection.concept_of(m)) if trusted[m] else f"unit {m}"
        for m in range(dissection.units)
    ]
