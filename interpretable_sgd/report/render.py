"""Rendering of a study as one HTML file that needs nothing else."""

import base64
import gzip
import hashlib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from interpretable_sgd.analysis import checkpoints
from interpretable_sgd.analysis.concepts.files import printable
from interpretable_sgd.analysis.provenance import versions
from interpretable_sgd.analysis.study.record import Study
from interpretable_sgd.report import (
    formatting,
    report_charts,
    sections,
    summary_text,
)
from interpretable_sgd.report.templating import environment

PACKED_ABOVE = 10**6  # characters of all numbers
SHOWN_ROWS = 40  # of a table behind a picture; its file holds all


def write(study: Study, path: str | Path) -> Path:
    """Write a study as one self-contained HTML file.

    Names of classes and concepts are escaped wherever they appear. The page asks for nothing from
    a network; its content security policy forbids it, and any script but its own.

    Args:
        study: as `interpretable_sgd.analysis.study` returns it.
        path: of the file; its folder is made.

    Returns:
        The path.
    """
    path = Path(path)
    text = render(study, printable(path.stem))
    checkpoints.replace(path, lambda part: part.write_text(text, encoding="utf-8"))
    return path


def render(study: Study, file_name: str = "report") -> str:
    """The page as text.

    Args:
        study: what it is about.
        file_name: of the numbers that can be saved from it.
    """
    templates = environment(autoescape=True)
    templates.filters |= _filters()
    return templates.get_template("report.html").render(_context(study, file_name))


def _context(study: Study, file_name: str) -> dict[str, Any]:
    script, style = _source("script.js"), _source("style.css")
    training = study.tables.get("training")
    series = dict.fromkeys(training.column("series")) if training else {}
    context = {
        "study": study,
        "tables": study.tables,
        "csv": {
            name: _data("text/csv", t.to_csv(study.source)) for name, t in study.tables.items()
        },
        **_numbers(study.to_json(indent=None), file_name),
        "file_name": file_name,
        "shown_rows": SHOWN_ROWS,
        "script": Markup(script),
        "script_hash": _policy_hash(script),
        "style": Markup(style),
        "lede": summary_text.lede(study),
        "facts": summary_text.facts(study),
        "decisions": [sections.decision(study, image) for image in study.explanations],
        "has_pictures": any(image.picture is not None for image in study.explanations),
        "classes": sections.class_views(study),
        "classes_without_images": sum(not card.images for card in study.classes),
        "units": sorted(study.units, key=lambda unit: -unit.mass),
        "has_words": any(unit.likeness is not None for unit in study.units),
        "has_names": any(unit.name is not None for unit in study.units),
        "accuracy_interval": sections.interval(study.metrics["accuracy"].interval),
        "doubts": summary_text.doubts(study.decisions),
        "source": {
            "images": study.provenance.get("config", {}).get("images"),
            "created": study.provenance.get("created", "")[:10],
        },
        "strips": sections.sheets(study),
        "iou_bars": sections.iou_bars(study.units),
        "categories": sorted({unit.category for unit in study.units if unit.category}),
        "sets": sections.set_rows(study),
        "pairs": summary_text.pair_views(study),
        "beside": sections.beside_view(study),
        "what_if": sections.what_if_view(study),
        "drawings": report_charts.drawings(study),
        "training": [
            (name, report_charts.training_chart(training, name)) for name in series if training
        ],
        **sections.composition_view(study),
        **_notes(study),
        "skipped": study.skipped,
        "version": versions()["interpretable-sgd"],
    }
    return context | {"contents": _contents(context)}


def _contents(context: dict[str, Any]) -> list[tuple[str, str]]:
    """Sections that the page has, by their anchors."""
    entries = [
        ("decisions", "Decisions", context["decisions"]),
        ("residuals", "A few units", True),
        ("classes", "Classes", True),
        ("units", "Units", True),
        ("errors", "Right and wrong", True),
        ("sets", "When it is not sure", "sets" in context["tables"]),
        ("pairs", "Confused classes", context["pairs"]),
        ("ablation", "Keeping and removing", "ablation" in context["tables"]),
        ("what-if", "What if", "what_if" in context["tables"]),
        ("composition", "Composition", context["graphs"]),
        (
            "accuracy",
            "Accuracy and sparsity",
            "compared" in context["tables"] or context["training"],
        ),
        ("stability", "Stability", "stability" in context["tables"]),
        ("beside", "Beside another model", context["beside"]),
        ("figures", "All numbers", True),
        ("provenance", "Provenance", True),
    ]
    return [(anchor, title) for anchor, title, there in entries if there]


def _notes(study: Study) -> dict[str, Any]:
    """Sentences about conventions, and what could not be read."""
    found = study.dissection
    if found is None:
        return {"dissection_note": ""}
    convention = {
        "category": "in which any label of the concept's category is present",
        "touched": "in which the unit's own mask touches such a label",
    }[found.image_set]
    note = (
        f"Measured on {formatting.count(found.images)} images with masks; a unit's area counts over images "
        f"{convention}. Its mask is the top {formatting.percent(found.quantile)} of its activations."
    )
    if len(found.null):
        note += (
            f" {formatting.plural(len(found.null), 'permutation')} of the labels make the chance."
        )
    return {"dissection_note": note}


def _filters() -> dict[str, Callable[..., str]]:
    return {
        "number": formatting.number,
        "signed": formatting.signed,
        "percent": formatting.percent,
        "count": formatting.count,
        "probability": formatting.probability,
        "cell": _cell,
    }


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return formatting.number(value, 0 if value.is_integer() and abs(value) >= 1 else 4)
    return formatting.DASH if value is None else str(value)


def _source(name: str) -> str:
    return (files("interpretable_sgd.report") / "templates" / name).read_text(encoding="utf-8")


def _policy_hash(script: str) -> str:
    """What the content security policy knows the page's own script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _numbers(text: str, file_name: str) -> dict[str, str]:
    """All numbers as a file to save, packed where there are many: they would be half of the page."""
    if len(text) <= PACKED_ABOVE:
        return {"json": _data("application/json", text), "json_name": f"{file_name}.json"}
    packed = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
    return {"json": f"data:application/gzip;base64,{packed}", "json_name": f"{file_name}.json.gz"}


def _data(kind: str, text: str) -> str:
    # signs that mean nothing in the body of a data URL stay as they are: a third of the length
    return f"data:{kind};charset=utf-8,{quote(text, safe=',:;()[]{}=/')}"
