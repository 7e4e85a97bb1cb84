"""A study of a trained classifier from beginning to end: decisions, dissection, pictures, tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.ablation import Ablation, ablate
from interpretable_sgd.analysis.batches import VerifiedLoader
from interpretable_sgd.analysis.comparison import compare_decisions
from interpretable_sgd.analysis.composition import compose
from interpretable_sgd.analysis.concepts.files import printable
from interpretable_sgd.analysis.concepts.table import ConceptImages
from interpretable_sgd.analysis.conformal import SetRule
from interpretable_sgd.analysis.confusions import Contrast, contrasts
from interpretable_sgd.analysis.decisions import Decisions, decide
from interpretable_sgd.analysis.dissection.dissect import dissect
from interpretable_sgd.analysis.dissection.result import Dissection
from interpretable_sgd.analysis.effects import grouped
from interpretable_sgd.analysis.heads import Head
from interpretable_sgd.analysis.images import Picture, stretched
from interpretable_sgd.analysis.names import InputNames, Names
from interpretable_sgd.analysis.provenance import provenance
from interpretable_sgd.analysis.set_trial import SetTrial, calibrate, try_sets
from interpretable_sgd.analysis.stability import Stability, under_augmentation
from interpretable_sgd.analysis.study import summary, tables
from interpretable_sgd.analysis.study.cards import class_cards, titles_of, unit_cards
from interpretable_sgd.analysis.study.illustrations import Progress, illustrate
from interpretable_sgd.analysis.study.record import Compared, Curves, Study
from interpretable_sgd.analysis.study.subject import Subject, subject_of
from interpretable_sgd.analysis.study.what_if import what_if
from interpretable_sgd.analysis.unit_naming import UnitNames


def study(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    class_names: Names | None = None,
    unit_names: Names | None = None,
    input_names: InputNames | None = None,
    calibration: Iterable[Any] | None = None,
    concepts: ConceptImages | None = None,
    named: UnitNames | None = None,
    layer: nn.Module | str | None = None,
    head: Head | nn.Module | str | None = None,
    below: nn.Module | str | None = None,
    layer_below: nn.Module | str | None = None,
    truth: Tensor | None = None,
    groups: Sequence[Any] | Tensor | None = None,
    compared: Sequence[Compared] = (),
    beside: nn.Module | None = None,
    beside_name: str = "the other model",
    training: Curves | None = None,
    training_axis: str = "step",
    augment: Callable[[Any], Any] | None = None,
    name: str | None = None,
    picture: Picture | None = stretched,
    prepare: Callable[[Tensor], Tensor] | None = None,
    permutations: int = 99,
    device: torch.device | str | None = None,
    explained: int = 6,
    pictures: int = 4,
    top: int = 5,
    config: Mapping[str, Any] | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    report: Progress = lambda stage, images: None,
) -> Study:
    """Read a trained classifier: what decides, which concepts its units are, how sure that is.

    Three passes over the data, a fourth to see what augmentation changes, one for a second model; one
    over calibration images and one more over the data if there are any, and two over the concept images
    if there are any. Memory does not grow with them, but for a few numbers an image and the
    probabilities of the calibration images. All arguments are checked before the first pass.

    Args:
        model: whose head is Linear, Dynamic or a 1x1 convolution; left as it was.
        loader: batches of inputs and labels, see `decide`, the same in each pass. If it has
            `skipped`, pairs of a name and a reason, the report says what could not be read.
        class_names: of all classes, or a mapping as `id2label` or `class_to_idx`; their numbers if
            None. A head of one output has two, or the name of class 1 alone.
        unit_names: of the units that the head reads; those of the inputs where it reads the inputs.
        input_names: of the features of rows or of tokens; or a function from an input to text.
        calibration: batches of other images that the model was not trained on, to say how sure it is by sets
            of classes; None for no sets.
        concepts: concept data; None leaves units without labels.
        named: names of the units by embeddings, see `name_units`, where there are no concepts; `unit_names`
            win over them.
        layer: whose maps are the head's units, or its dotted name; found if None.
        head: or its dotted name; found if None.
        below: layer that the head's units are made by, to go one level down; any with weights.
        layer_below: whose maps are the units that `below` reads, to name them by concepts too.
        truth: concepts that each class is made of, where known, (C, L), bool, in the order of the
            concepts' table.
        groups: a name or number for each image in the loader's order, such as where it was taken.
        compared: other models, for accuracy against weights per class.
        beside: a second model of the same classes, to compare with side by side; see `compare`.
        beside_name: of it.
        training: curves by name, each (steps, values), as `Recorder.series` gives them; those named
            "MEASURE: MODEL" share a chart for each measure.
        training_axis: what their steps are.
        augment: changes inputs a little, to see whether the same units decide; None to leave it.
        name: of the model; its class's name if None.
        picture: turns an input of the model to a picture in [0, 1]; see `denormalized`. None for no
            pictures; inputs that are no pictures have none.
        prepare: turns a concept image in [0, 1] to an input of the model; as it is if None.
        permutations: of the label null, 0 or at least 19.
        device: to run on; where the model is if None.
        explained: images to explain, half of them wrong, spread evenly over the data.
        pictures: of each unit on a card.
        top: units on a card and in an explanation.
        config: what the report is to say of how the model and data were made.
        seed: of the label null.
        checkpoint: folder to go on from, if deciding or dissecting was cut off.
        report: told the stage and how many images of it are done.

    Returns:
        What `interpretable_sgd.report.render` shows; `print` shows a summary.

    Raises:
        TypeError: the loader gives something else than batches; names are a single string.
        ValueError: names, shapes or layers do not fit; the loader gives other images in another pass.

    >>> body = (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> found = study(nn.Sequential(*body, nn.Linear(8, 4)), [(torch.rand(8, 3, 9, 9), torch.arange(8) % 4)])
    >>> found.layer, len(found.classes), found.metrics["units"].value
    ('1', 4, 8)
    """
    for option, count, least in (
        ("top", top, 1),
        ("explained", explained, 0),
        ("pictures", pictures, 0),
    ):
        if count < least:
            raise ValueError(f"{option} must be at least {least}, got {count}")
    subject = subject_of(
        model,
        loader,
        head=head,
        layer=layer,
        class_names=class_names,
        unit_names=unit_names,
        input_names=input_names,
        picture=picture,
        device=device,
    )
    below_weights = subject.weights_below(below, layer_below)
    subject.check_concepts(concepts, truth)
    if concepts is not None and named is not None:
        raise ValueError("named must be None where concepts name the units")
    dissected = partial(
        _dissect, subject, concepts, prepare, permutations, seed, checkpoint, report
    )

    title = printable(name or type(subject.model).__name__)
    decisions = _decide(subject, top, checkpoint, report)
    rules = _calibrate(subject, calibration, decisions.hashes, report)
    grouping = grouped(groups, len(decisions))
    dissection = dissected(subject.layer, "dissection")
    units = unit_cards(decisions, dissection, subject.unit_names, named)
    reach = summary.reach_by_class(decisions)
    classes = class_cards(decisions, subject.class_names, units, reach, top=top)
    read = sorted({use.unit for card in classes for use in card.uses})
    rule = rules[0] if rules else None
    images = illustrate(subject, decisions, read, explained, pictures, top, rule, report)
    ablation, stability = _trials(subject, decisions.hashes, augment, top, report)
    pairs = _confusions(decisions, top)
    graph = compose(
        decisions.weight,
        below_weights,
        class_names=subject.class_names,
        labels=[unit.title for unit in units],
        labels_below=titles_of(dissected(layer_below, "dissection below")),
        top=top,
    )

    metrics = summary.metrics(decisions, units, classes, ablation, dissection, truth)
    if images.diversity is not None:
        metrics["diversity_at_5"] = summary.diversity_metric(images.diversity)
    found = tables.tables(decisions, units, classes, images.explanations, pairs, graph)
    found |= tables.trial_tables(decisions, ablation, stability, subject.class_names, compared)
    if rules:
        found["sets"] = tables.set_table(
            _try_sets(subject, decisions.hashes, rules, report), decisions
        )
    found |= what_if(subject.head, decisions, units, classes, *grouping)
    comparison = None
    if beside is not None:
        other = _decide_beside(subject, beside, decisions.hashes, top, report)
        titles = [unit.title for unit in units]
        pair = title, printable(beside_name)
        comparison = compare_decisions(decisions, other, pair, subject.class_names, titles, top)
        found["beside"] = comparison.to_table()
    if training:
        found["training"] = tables.training_table(training, training_axis)
    settings = {"head": decisions.head, "layer": subject.layer, "top": top, **(config or {})}
    skipped = (*getattr(loader, "skipped", ()), *(dissection.skipped if dissection else ()))
    return Study(
        name=title,
        class_names=subject.class_names,
        decisions=decisions,
        head_kind=subject.head.kind,
        layer=subject.layer,
        dissection=dissection,
        units=units,
        classes=classes,
        explanations=images.explanations,
        exemplars=images.exemplars,
        contrasts=pairs,
        composition=graph,
        metrics=metrics,
        tables=found,
        provenance=provenance(subject.model, decisions.hashes, settings, seed),
        skipped=tuple((printable(path), printable(why)) for path, why in skipped),
        comparison=comparison,
    )


def _decide(subject: Subject, top: int, folder: Path | None, report: Progress) -> Decisions:
    """The first pass: what the head makes of each image."""
    return decide(
        subject.model,
        subject.loader,
        subject.head,
        device=subject.device,
        keep=max(10, top),
        checkpoint=None if folder is None else folder / "decisions.pt",
        report=lambda done: report("decisions", done),
    )


def _decide_beside(
    subject: Subject, model: nn.Module, hashes: Tensor, top: int, report: Progress
) -> Decisions:
    """A pass of another model over the same images."""
    return decide(
        model,
        VerifiedLoader(subject.loader, hashes),
        device=subject.device,
        keep=max(10, top),
        report=lambda done: report("beside", done),
    )


def _calibrate(
    subject: Subject, loader: Iterable[Any] | None, hashes: Tensor, report: Progress
) -> tuple[SetRule, ...]:
    """Rules of prediction sets; none without calibration images."""
    if loader is None:
        return ()
    return calibrate(
        subject.model,
        loader,
        subject.head,
        seen=hashes,
        device=subject.device,
        report=lambda done: report("calibration", done),
    )


def _try_sets(
    subject: Subject, hashes: Tensor, rules: Sequence[SetRule], report: Progress
) -> SetTrial:
    """A pass in which the rules make sets of the studied images."""
    return try_sets(
        subject.model,
        VerifiedLoader(subject.loader, hashes),
        rules,
        subject.head,
        device=subject.device,
        report=lambda done: report("sets", done),
    )


def _dissect(
    subject: Subject,
    concepts: ConceptImages | None,
    prepare: Callable[[Tensor], Tensor] | None,
    permutations: int,
    seed: int,
    folder: Path | None,
    report: Progress,
    layer: nn.Module | str | None,
    stage: str,
) -> Dissection | None:
    """Concepts of a layer's units; None without concepts or layer."""
    if concepts is None or layer is None:
        return None
    return dissect(
        subject.model,
        layer,
        concepts,
        prepare=prepare,
        permutations=permutations,
        seed=seed,
        device=subject.device,
        checkpoint=None if folder is None else folder / f"{stage}.pt",
        report=lambda done: report(stage, done),
    )


def _trials(
    subject: Subject,
    hashes: Tensor,
    augment: Callable[[Any], Any] | None,
    top: int,
    report: Progress,
) -> tuple[Ablation, Stability | None]:
    """Passes in which something changes: units, and with `augment` images."""
    loader = VerifiedLoader(subject.loader, hashes)
    ablation = ablate(
        subject.model,
        loader,
        subject.head,
        device=subject.device,
        report=lambda done: report("ablation", done),
    )
    if augment is None:
        return ablation, None
    stability = under_augmentation(
        subject.model,
        loader,
        augment,
        subject.head,
        k=top,
        device=subject.device,
        report=lambda done: report("stability", done),
    )
    return ablation, stability


def _confusions(decisions: Decisions, top: int) -> tuple[Contrast, ...]:
    """Pairs of classes that are taken for one another; labels that are sets are not."""
    if decisions.is_multilabel:
        return ()
    return contrasts(decisions.weight, decisions.labels, decisions.predicted, top)
