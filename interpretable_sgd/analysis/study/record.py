"""One study of a trained classifier: everything that its report shows, in the order it is found."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interpretable_sgd.analysis.composition import Composition
from interpretable_sgd.analysis.confusions import Contrast
from interpretable_sgd.analysis.decisions import Decisions
from interpretable_sgd.analysis.dissection.result import Dissection
from interpretable_sgd.analysis.exemplars import Exemplar
from interpretable_sgd.analysis.explanation import Explanation
from interpretable_sgd.analysis.provenance import canonical, plain
from interpretable_sgd.analysis.study.class_cards import ClassCard
from interpretable_sgd.analysis.study.unit_cards import UnitCard
from interpretable_sgd.analysis.table import Table

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
class Figure:
    """One number with what it means."""

    value: float | None
    meaning: str


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
        figures: single numbers by name.
        tables: numbers behind every picture, by name.
        provenance: configuration, seed, versions, hashes of model and data.
        skipped: name and reason of each image that could not be read.
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
    figures: Mapping[str, Figure]
    tables: Mapping[str, Table]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()

    def to_json(self, path: str | Path | None = None) -> str:
        """All numbers with their definitions and provenance; written to a file if one is named."""
        content = {
            "model": self.name,
            "counted_from": 0,
            "figures": {
                name: {"value": figure.value, "meaning": figure.meaning}
                for name, figure in self.figures.items()
            },
            "tables": {name: found.to_plain() for name, found in self.tables.items()},
            "provenance": self.provenance,
            "skipped": self.skipped,
        }
        text = json.dumps(plain(content), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
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
