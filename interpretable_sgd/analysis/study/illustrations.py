"""Pictures of a study: explained images, and the images that excite units most."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interpretable_sgd.analysis.batches import VerifiedLoader, stack, tensors
from interpretable_sgd.analysis.conformal import SetRule, uniform
from interpretable_sgd.analysis.decisions import Decisions
from interpretable_sgd.analysis.exemplars import Exemplar, exemplars
from interpretable_sgd.analysis.explanation import Explanation, explain, spread_evenly
from interpretable_sgd.analysis.forward import layer_of
from interpretable_sgd.analysis.interpretability_metrics import diversity
from interpretable_sgd.analysis.study.subject import Subject

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Illustrations:
    """Pictures of a study.

    Attributes:
        explanations: of some images.
        exemplars: by unit, the images that excite it most.
        diversity: how far apart the units of the predicted class look, (N,); None without maps.
    """

    explanations: tuple[Explanation, ...]
    exemplars: dict[int, list[Exemplar]]
    diversity: Tensor | None


def illustrate(
    subject: Subject,
    decisions: Decisions,
    units: Sequence[int],
    explained: int,
    pictures: int,
    top: int,
    rule: SetRule | None,
    report: Progress,
) -> Illustrations:
    """Explained images, and the images that excite units most, in one pass over the data.

    Args:
        subject: of the study.
        decisions: on its data.
        units: to find images for.
        explained: images to explain.
        pictures: of each unit.
        top: reasons of an explanation, and units whose diversity is measured.
        rule: of the explained images' sets; None for none.
        report: told the stage and how many images of it are done.

    Raises:
        ValueError: the loader gives other images than those decided on.
    """
    chosen = spread_evenly(decisions, explained)
    loader = VerifiedLoader(subject.loader, decisions.hashes, wanted=chosen)
    apart: list[Tensor] = []
    best: dict[int, list[Exemplar]] = {}
    k = min(top, subject.units)

    def look(maps: Tensor, first: int) -> None:
        predicted = decisions.predicted[first : first + len(maps)]
        apart.append(diversity(maps, decisions.weight, predicted, k=k))

    if subject.layer is None or not pictures:
        for _ in loader:
            pass
    else:
        best = exemplars(
            subject.model,
            loader,
            layer_of(subject.model, subject.layer)[1],
            units,
            count=pictures,
            device=subject.device,
            picture=subject.picture,
            look=look,
            report=lambda done: report("pictures", done),
        )
    explanations = _explanations(subject, decisions, loader, chosen, top, rule)
    return Illustrations(explanations, best, torch.cat(apart) if apart else None)


def _explanations(
    subject: Subject,
    decisions: Decisions,
    loader: VerifiedLoader,
    chosen: list[int],
    top: int,
    rule: SetRule | None,
) -> tuple[Explanation, ...]:
    """Explanations of the images that a pass over the data has kept."""
    # texts of different lengths do not make one batch
    shapes = {n: [tuple(t.shape) for t in tensors(loader.kept[n][0])] for n in chosen}
    alike = len({str(shape) for shape in shapes.values()}) == 1
    found: list[Explanation] = []
    for group in [chosen] if alike else [[n] for n in chosen]:
        found += explain(
            subject.model,
            stack([loader.kept[n][0] for n in group]),
            torch.stack([loader.kept[n][1] for n in group]),
            subject.head,
            subject.layer,
            top=top,
            indices=group,
            picture=subject.picture,
            class_names=subject.class_names,
            unit_names=subject.unit_names,
            input_names=subject.input_names,
            rule=rule,
            noise=uniform(decisions.hashes[group]),
            device=subject.device,
        )
    return tuple(found)
