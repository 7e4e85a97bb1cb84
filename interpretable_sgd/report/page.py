"""What the page of a study says of the whole: sentences, facts, pairs of classes."""

from dataclasses import dataclass
from typing import Any

from interpretable_sgd.analysis.study.record import Study
from interpretable_sgd.report.formatting import count, number, percent, plural, signed


@dataclass(frozen=True)
class Fact:
    """A number that the page begins with."""

    name: str
    value: str
    note: str = ""


def value(study: Study, name: str) -> float | None:
    """A figure of the study, if it has it."""
    return study.figures[name].value if name in study.figures else None


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
