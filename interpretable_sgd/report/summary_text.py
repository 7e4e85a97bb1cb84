"""Sentences about a study as a whole: of the page, and of the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from interpretable_sgd.analysis.confusions import better_order
from interpretable_sgd.analysis.decisions import Decisions
from interpretable_sgd.analysis.study.record import Study
from interpretable_sgd.report.formatting import count, number, percent, plural, signed


@dataclass(frozen=True)
class Fact:
    """A number that the page begins with."""

    name: str
    value: str
    note: str = ""


def value(study: Study, name: str) -> float | None:
    """A metric of the study, if it has it."""
    return study.metrics[name].value if name in study.metrics else None


def closing_lines(study: Study, order: str, folders: Sequence[str]) -> list[str]:
    """What a command says at its end: accuracy, head, layer, order of the classes, and warnings.

    Args:
        study: that was made.
        order: how the class of each folder was found.
        folders: names of the class folders.
    """
    decisions = study.decisions
    layer = "no layer has maps" if study.layer is None else f"maps of {study.layer or 'the model'}"
    names = ", ".join(study.class_names[:5]) + (", ..." if len(study.class_names) > 5 else "")
    lines = [
        f"accuracy {decisions.accuracy:.1%} on {len(decisions)} images in {len(folders)} folders; "
        f"the most frequent label alone has {decisions.chance_accuracy:.1%}",
        f"head {decisions.head or 'the model'} ({study.head_kind}), {layer}",
        f"class order: {order}; outputs are {names}",
    ]
    return lines + [f"warning: {text}" for text in doubts(decisions)]


def doubts(decisions: Decisions) -> list[str]:
    """What makes the inputs look as if they were not those that the model was trained on."""
    found = []
    chance, n = decisions.chance_accuracy, len(decisions)
    error = (chance * (1 - chance) / n) ** 0.5
    if decisions.accuracy <= chance + 3 * error:
        found.append(
            "accuracy is near chance: check the order of the classes, --mean, --std and --size"
        )
    if decisions.is_multilabel or len(decisions.weight) < 3:
        return found
    given = decisions.outcomes[:, :, 1].sum(1)
    c = int(given.argmax())
    if given[c] > 0.5 * n and given[c] > 2 * int(decisions.counts[c]):
        found.append(
            f"{int(given[c]) / n:.0%} of the images are given class {c}: check --mean, --std and --size"
        )
    other = better_order(decisions.labels, decisions.predicted)
    if other is not None:
        found.append(
            f"in another order of the classes accuracy would be {other:.1%}: check --class-names"
        )
    return found


def lede(study: Study) -> str:
    """The study in three sentences."""
    weights = value(study, "weights_per_class") or 0.0
    units = int(value(study, "units") or 0)
    left = value(study, "outside_5")
    said = [
        f"It tells {plural(len(study.classes), 'class', 'classes')} apart and is right on "
        f"{percent(study.decisions.accuracy)} of {count(len(study.decisions))} images.",
        f"A class reads {number(weights, 1)} of {count(units)} units on average, and the five largest "
        f"contributions make up {percent(None if left is None else 1 - left)} of what units add to a decision.",
    ]
    if study.dissection is not None:
        trusted = sum(unit.is_trusted for unit in study.units)
        mass = value(study, "unlabelled_mass") or 0.0
        said.append(
            f"{plural(trusted, 'unit')} of {count(units)} can be named by a concept; units without a name "
            f"carry {percent(mass)} of the contributions."
        )
    words = [unit for unit in study.units if unit.likeness is not None]
    if words:
        sure = sum(unit.is_trusted for unit in words)
        said.append(f"{plural(sure, 'unit')} of {count(units)} can be named by a word.")
    return " ".join(said)


def facts(study: Study) -> list[Fact]:
    """The numbers of the masthead."""
    figures = [
        Fact("accuracy", percent(study.decisions.accuracy)),
        Fact(
            "weights per class",
            number(value(study, "weights_per_class"), 1),
            f"of {count(value(study, 'units'))}",
        ),
        Fact("of contributions outside the top five", percent(value(study, "outside_5"))),
        Fact(
            "classes with at most five weights", percent(value(study, "classes_with_5_weights"), 0)
        ),
    ]
    if study.dissection is not None:
        figures += [
            Fact(
                "units that match a concept",
                count(value(study, "detectors")),
                f"{count(value(study, 'unique_detectors'))} distinct",
            ),
            Fact(
                "of contributions by units without a concept",
                percent(value(study, "unlabelled_mass")),
            ),
        ]
    if value(study, "concept_f1") is not None:
        figures.append(
            Fact("F1 of class concepts against the truth", number(value(study, "concept_f1")))
        )
    return figures


def pair_views(study: Study) -> list[dict[str, Any]]:
    """Contrasts of classes in words."""

    def named(unit: int, *weights: float) -> str:
        return f"{study.units[unit].title} ({' / '.join(signed(w) for w in weights)})"

    return [
        {
            "first": study.class_names[pair.first],
            "second": study.class_names[pair.second],
            "confused": pair.confused,
            "shared": ", ".join(named(*entry) for entry in pair.shared),
            "only_first": ", ".join(named(*entry) for entry in pair.only_first),
            "only_second": ", ".join(named(*entry) for entry in pair.only_second),
        }
        for pair in study.contrasts
    ]
