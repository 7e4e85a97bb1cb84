"""A model card: what a study has found, and what its owner has to say, as Markdown or JSON."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interpretable_sgd.analysis import checkpoints
from interpretable_sgd.analysis.calibration import wilson_interval
from interpretable_sgd.analysis.provenance import plain
from interpretable_sgd.analysis.study.record import Study
from interpretable_sgd.report import formatting
from interpretable_sgd.report.summary_text import doubts, value
from interpretable_sgd.report.templating import environment

# what no measurement can tell, with the question that each field answers
OWN = {
    "intended use": "What is the model for, and where in a process is it used?",
    "intended users": "Who is to use it, and what do they have to know?",
    "out of scope": "What is it not to be used for?",
    "training data": "What was it trained on, who collected that, with whose consent?",
    "groups": "Which people or conditions may it treat differently, and was that measured?",
    "risks": "What harm can a wrong decision do, and who notices?",
    "contact": "Who answers for it, and under which license is it given?",
}
FEW = 30  # images of a class below which its accuracy says little
FORMULAS = 20  # classes whose formulas are in the Markdown; the JSON has all
SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$])")


def write_card(study: Study, path: str | Path, own: Mapping[str, str] | None = None) -> Path:
    """Write the model card of a study, as Markdown or, where the path ends in .json, as JSON.

    Args:
        study: as `interpretable_sgd.analysis.study` returns it.
        path: ends in .md or .json; its folder is made.
        own: what the model's owner says, by field, see `model_card`.

    Raises:
        ValueError: the path ends otherwise; own has another field.
    """
    path = Path(path)
    content = model_card(study, own)
    if path.suffix == ".json":
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    elif path.suffix == ".md":
        text = _markdown(content)
    else:
        raise ValueError(f"path must end in .md or .json, got {path}")
    checkpoints.replace(path, lambda part: part.write_text(text, encoding="utf-8"))
    return path


def model_card(study: Study, own: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The content of a model card, as JSON knows it.

    The sections are those of Mitchell et al., Model Cards for Model Reporting, FAT* 2019. What a study
    cannot know is left to the model's owner: such fields are None until they are given.

    Args:
        study: what is measured.
        own: texts of the fields "intended use", "intended users", "out of scope", "training data",
            "groups", "risks" and "contact".

    Raises:
        ValueError: own has another field.
    """
    unknown = sorted(set(own or {}) - set(OWN))
    if unknown:
        raise ValueError(f"own must have fields among {', '.join(OWN)}, got {unknown[0]!r}")
    decisions, source = study.decisions, study.provenance
    config = source.get("config", {})
    found = {
        "model": {
            "name": study.name,
            "head": f"{decisions.head or 'the model'}, {study.head_kind}",
            "classes": len(study.classes),
            "units": len(study.units),
            "weights per class": value(study, "weights_per_class"),
            "hash": source.get("model_hash"),
        },
        "own": {name: (own or {}).get(name) for name in OWN},
        "data": {
            "images": len(decisions),
            "from": config.get("images"),
            "hash": source.get("data_hash"),
            "skipped": len(study.skipped),
        },
        "accuracy": {
            "overall": value(study, "accuracy"),
            "interval": study.metrics["accuracy"].interval,
            "chance": value(study, "chance_accuracy"),
            "classes": [
                {
                    "name": card.name,
                    "images": card.images,
                    "accuracy": card.accuracy,
                    "interval": wilson_interval(card.hits, card.images) if card.images else None,
                    "weights": card.weights,
                    "formula": card.formula,
                }
                for card in study.classes
            ],
        },
        "calibration": {
            "expected error": value(study, "calibration_error"),
            "bins": study.tables["calibration"].to_plain(),
            "sets": study.tables["sets"].to_plain() if "sets" in study.tables else None,
        },
        "concepts": {
            "units with a name": sum(unit.title != f"unit {unit.unit}" for unit in study.units),
            "by labelled images": study.dissection is not None,
            "outside top five": value(study, "outside_5"),
            "unlabelled": value(study, "unlabelled_mass"),
        },
        "limits": limits(study),
        "edits": config.get("edits", []),
        "versions": source.get("versions", {}),
        "created": source.get("created"),
    }
    return dict(plain(found))


def limits(study: Study) -> list[str]:
    """What the numbers do not say, in sentences."""
    few = [card.name for card in study.classes if 0 < card.images < FEW]
    none = sum(not card.images for card in study.classes)
    seen = [card for card in study.classes if card.accuracy is not None and card.accuracy < 1]
    said = [
        "All numbers are of the images named here; of images taken elsewhere, or made otherwise, they "
        "say nothing."
    ]
    if seen:
        worst = min(seen, key=lambda card: card.accuracy or 0.0)
        said.append(
            f"The class least often right is {worst.name}: {formatting.percent(worst.accuracy, 0)} of "
            f"{formatting.plural(worst.images, 'image')}."
        )
    if few:
        said.append(
            f"{formatting.plural(len(few), 'class has', 'classes have')} fewer than {FEW} images: their "
            "accuracy is known roughly, see the intervals."
        )
    if none:
        said.append(f"{formatting.plural(none, 'class has', 'classes have')} no image at all.")
    outside = value(study, "outside_5")
    if outside is not None and outside > 0.05:
        said.append(
            f"{formatting.percent(outside, 0)} of what units add to a decision is outside the five "
            "largest contributions: five units do not explain it."
        )
    if study.dissection is None:
        said.append(
            "Units were not named by labelled images: what they show is for people to judge."
        )
    for pair in study.contrasts[:3]:
        names = study.class_names[pair.first], study.class_names[pair.second]
        said.append(
            f"{names[0]} and {names[1]} are taken for one another in {pair.confused} images."
        )
    return said + [f"Warning: {text}." for text in doubts(study.decisions)]


def _markdown(content: Mapping[str, Any]) -> str:
    templates = environment(autoescape=False, keep_trailing_newline=True)
    templates.filters |= {
        "text": _text,
        "percent": formatting.percent,
        "number": formatting.number,
        "count": formatting.count,
        "interval": _interval,
    }
    return templates.get_template("card.md").render(card=content, questions=OWN, shown=FORMULAS)


def _text(value: object) -> str:
    """In one line, with nothing that Markdown or HTML would read as its own."""
    return SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def _interval(ends: list[float] | None) -> str:
    if ends is None:
        return formatting.DASH
    return f"{formatting.percent(ends[0], 0)} to {formatting.percent(ends[1], 0)}"
