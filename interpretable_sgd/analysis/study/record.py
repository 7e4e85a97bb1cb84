"""Record of one study of a trained classifier: everything that its report shows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from interpretable_sgd.analysis import checkpoints
from interpretable_sgd.analysis.comparison import Comparison
from interpretable_sgd.analysis.composition import Composition
from interpretable_sgd.analysis.confusions import Contrast
from interpretable_sgd.analysis.decisions import Decisions
from interpretable_sgd.analysis.dissection.result import Dissection
from interpretable_sgd.analysis.exemplars import Exemplar
from interpretable_sgd.analysis.explanation import Explanation
from interpretable_sgd.analysis.provenance import canonical, plain
from interpretable_sgd.analysis.study.cards import ClassCard, UnitCard
from interpretable_sgd.analysis.table import Table

SHOWN = ("weights_per_class", "outside_5", "dead_units")  # metrics in the text of a study
CLASSES = 10  # in the text of a study

# by name, the steps of a curve and its values
Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class Compared:
    """A model to stand beside the studied one: accuracy against weights per class.

    Attributes:
        name: of the model.
        weights_per_class: mean number with |w| >= 1e-3.
        accuracy: in [0, 1].
        seeds: runs that the numbers are means of.
        error: standard error of the accuracy over the seeds; None for one.
    """

    name: str
    weights_per_class: float
    accuracy: float
    seeds: int = 1
    error: float | None = None


@dataclass(frozen=True)
class Metric:
    """One number with what it means.

    Attributes:
        value: None where there is none.
        meaning: its definition.
        interval: ends of its 95 % interval, where it is a share of independent images.
    """

    value: float | None
    meaning: str
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Study:
    """All that was found about a model on a data set.

    Attributes:
        name: of the model.
        class_names: C names.
        decisions: on the data set.
        head_kind: "linear", "routed linear", "convolution" or "routed convolution".
        layer: whose maps are the head's units; None where the head reads no maps.
        dissection: of that layer; None without concept data.
        units: a card each.
        classes: a card each.
        explanations: of some images, right and wrong.
        exemplars: by unit, the images that excite it most.
        contrasts: of the classes most often confused.
        composition: classes <- units <- units of the layer below.
        metrics: single numbers by name.
        tables: numbers behind every picture, by name.
        provenance: configuration, seed, versions, hashes of model and data.
        skipped: name and reason of each image that could not be read.
        comparison: with a second model; None without one.
    """

    name: str
    class_names: tuple[str, ...]
    decisions: Decisions
    head_kind: str
    layer: str | None
    dissection: Dissection | None
    units: tuple[UnitCard, ...]
    classes: tuple[ClassCard, ...]
    explanations: tuple[Explanation, ...]
    exemplars: Mapping[int, Sequence[Exemplar]]
    contrasts: tuple[Contrast, ...]
    composition: Composition
    metrics: Mapping[str, Metric]
    tables: Mapping[str, Table]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    comparison: Comparison | None = None

    def __repr__(self) -> str:
        return (
            f"Study({self.name!r}, {len(self.classes)} classes, {len(self.units)} units, "
            f"{len(self.decisions)} images, accuracy {self.decisions.accuracy:.3f})"
        )

    def __str__(self) -> str:
        lines = [
            f"{self.name}: right on {self.decisions.accuracy:.1%} of {len(self.decisions)} images",
            f"head {self.decisions.head or 'the model'} ({self.head_kind}), maps of "
            f"{'no layer' if self.layer is None else self.layer or 'the model'}",
        ]
        lines += [f"{name} = {_rounded(self.metrics[name].value)}" for name in SHOWN]
        lines += [card.formula for card in self.classes[:CLASSES]]
        if len(self.classes) > CLASSES:
            lines.append(f"... and {len(self.classes) - CLASSES} more classes")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """As a notebook shows it: the metrics and what each class reads."""
        metrics = "".join(
            f"<tr><td style='text-align:left'>{escape(name)}</td><td>{_rounded(metric.value)}</td>"
            f"<td style='text-align:left'>{escape(metric.meaning)}</td></tr>"
            for name, metric in self.metrics.items()
        )
        formulas = "".join(f"<li>{escape(card.formula)}</li>" for card in self.classes[:CLASSES])
        return f"<p><b>{escape(self.name)}</b></p><ul>{formulas}</ul><table>{metrics}</table>"

    def to_json(self, path: str | Path | None = None, indent: int | None = 1) -> str:
        """All numbers with their definitions and provenance; written to a file if one is named.

        Args:
            path: of the file; None for no file.
            indent: as `json.dumps` takes it.
        """
        content = {
            "model": self.name,
            "counted_from": 0,
            "figures": {
                name: {"value": metric.value, "meaning": metric.meaning}
                | ({} if metric.interval is None else {"interval": metric.interval})
                for name, metric in self.metrics.items()
            },
            "tables": {name: found.to_plain() for name, found in self.tables.items()},
            "provenance": self.provenance,
            "skipped": self.skipped,
        }
        text = json.dumps(plain(content), indent=indent, allow_nan=False, ensure_ascii=False) + "\n"
        if path is not None:
            checkpoints.replace(Path(path), lambda part: part.write_text(text, encoding="utf-8"))
        return text

    def to_csv(self, folder: str | Path) -> list[Path]:
        """One file for each table; title, definitions and provenance stand above as "#" lines."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, found in self.tables.items():
            path = folder / f"{name}.csv"
            path.write_text(found.to_csv(self.source), encoding="utf-8")
            paths.append(path)
        return paths

    @property
    def source(self) -> dict[str, str]:
        """Provenance in one line each."""
        return {
            key: value if isinstance(value, str) else canonical(value)
            for key, value in self.provenance.items()
        }


def _rounded(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
