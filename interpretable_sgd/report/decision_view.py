"""Explained images as a page shows them: pictures, captions, and the sum that is the logit."""

from typing import Any

from interpretable_sgd.analysis.explanation import Explanation, Verdict
from interpretable_sgd.analysis.study.record import Study
from interpretable_sgd.analysis.study.unit_cards import UnitCard
from interpretable_sgd.report.formatting import plural
from interpretable_sgd.report.pictures import data_uri, enlarged, spotlight
from interpretable_sgd.report.waterfall import Part, waterfall

SHARP_BELOW = 100  # pictures of fewer pixels a side are shown with their pixels


def concept_name(unit: UnitCard) -> str:
    """How a unit is called in a caption."""
    if unit.label is None:
        return "no concept"
    return unit.label if unit.is_trusted else f"{unit.label}?"


def decision(study: Study, image: Explanation) -> dict[str, Any]:
    """An explained image with its verdicts."""
    picture = enlarged(image.picture)
    return {
        "index": image.index,
        "label": study.class_names[image.label],
        "is_right": image.is_right,
        "picture": data_uri(picture, quality=80),
        "width": picture.shape[2],
        "height": picture.shape[1],
        "sharp": max(image.picture.shape[1:]) < SHARP_BELOW,
        "verdicts": [_verdict(study, image, verdict) for verdict in image.verdicts],
    }


def _verdict(study: Study, image: Explanation, verdict: Verdict) -> dict[str, Any]:
    reasons, parts = [], []
    for reason in verdict.reasons:
        card = study.units[reason.unit]
        lit = spotlight(enlarged(image.picture), reason.map) if reason.map is not None else None
        reasons.append(
            {
                "unit": reason.unit,
                "contribution": reason.contribution,
                "concept": concept_name(card) if study.dissection else f"unit {reason.unit}",
                "iou": card.iou,
                "picture": None if lit is None else data_uri(lit),
                "width": None if lit is None else lit.shape[2],
                "height": None if lit is None else lit.shape[1],
            }
        )
        parts.append(Part(card.title, reason.contribution))
    others = len(study.units) - len(reasons)
    parts.append(Part(plural(others, "other unit"), verdict.rest, "rest"))
    parts.append(Part("bias", verdict.bias, "bias"))
    name = study.class_names[verdict.class_index]
    drawing = waterfall(parts, "= logit", title=f"The logit of {name} as a sum")
    return {"name": name, "logit": verdict.logit, "reasons": reasons, "waterfall": drawing}
