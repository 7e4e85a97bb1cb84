"""A study of a trained classifier from beginning to end: decisions, dissection, pictures, tables."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.ablation import ablate
from interpretable_sgd.analysis.batches import (
    Inputs,
    VerifiedLoader,
    call,
    check_labels,
    first_batch,
    on,
    rows,
    split_batch,
    stack,
    tensors,
)
from interpretable_sgd.analysis.composition import Composition, compose, connections
from interpretable_sgd.analysis.concepts.files import printable
from interpretable_sgd.analysis.concepts.table import ConceptImages
from interpretable_sgd.analysis.confusions import contrasts
from interpretable_sgd.analysis.decisions import EXAMPLES, Decisions, decide
from interpretable_sgd.analysis.dissection.dissect import dissect
from interpretable_sgd.analysis.dissection.result import Dissection
from interpretable_sgd.analysis.exemplars import Exemplar, exemplars
from interpretable_sgd.analysis.explanation import Explanation, explain, spread_evenly
from interpretable_sgd.analysis.forward import (
    captured,
    find_map_layer,
    layer_of,
    placed,
    plain,
    reading,
)
from interpretable_sgd.analysis.head_search import find_head
from interpretable_sgd.analysis.heads import Head
from interpretable_sgd.analysis.images import Picture, as_picture, stretched
from interpretable_sgd.analysis.interpretability_metrics import diversity
from interpretable_sgd.analysis.names import (
    InputNames,
    Names,
    class_titles,
    in_words,
    unit_titles,
)
from interpretable_sgd.analysis.provenance import provenance
from interpretable_sgd.analysis.stability import under_augmentation
from interpretable_sgd.analysis.study import summary, tables
from interpretable_sgd.analysis.study.cards import class_cards, titles_of, unit_cards
from interpretable_sgd.analysis.study.record import Compared, Curves, Study

Progress = Callable[[str, int], None]


def study(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    class_names: Names | None = None,
    unit_names: Names | None = None,
    input_names: InputNames | None = None,
    concepts: ConceptImages | None = None,
    layer: nn.Module | str | None = None,
    head: Head | nn.Module | str | None = None,
    below: nn.Module | str | None = None,
    layer_below: nn.Module | str | None = None,
    truth: Tensor | None = None,
    compared: Sequence[Compared] = (),
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

    Three passes over the data, a fourth to see what augmentation changes, and two over the concept
    images if there are any; memory does not grow with either, but for a few numbers an image. All
    arguments are checked before the first pass.

    Args:
        model: whose head is Linear, Dynamic or a 1x1 convolution; left as it was.
        loader: batches of inputs and labels, see `decide`, the same in each pass. If it has
            `skipped`, pairs of a name and a reason, the report says what could not be read.
        class_names: of all classes, or a mapping as `id2label` or `class_to_idx`; their numbers if
            None. A head of one output has two, or the name of class 1 alone.
        unit_names: of the units that the head reads; those of the inputs where it reads the inputs.
        input_names: of the features of rows or of tokens; or a function from an input to text.
        concepts: concept data; None leaves units without labels.
        layer: whose maps are the head's units, or its dotted name; found if None.
        head: or its dotted name; found if None.
        below: layer that the head's units are made by, to go one level down; any with weights.
        layer_below: whose maps are the units that `below` reads, to name them by concepts too.
        truth: concepts that each class is made of, where known, (C, L), bool, in the order of the
            concepts' table.
        compared: other models, for accuracy against weights per class.
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
    _check_counts(top=(top, 1), explained=(explained, 0), pictures=(pictures, 0), seed=(seed, 0))
    shown = _Inputs(picture, input_names)
    subject = _subject(model, loader, class_names, unit_names, shown, layer, head, device)
    lower = None if below is None else connections(layer_of(subject.model, below)[1]).cpu()
    if lower is not None and len(lower) != subject.units:
        raise ValueError(
            f"below must make the {subject.units} units of the head, it makes {len(lower)}"
        )
    if layer_below is not None:
        layer_of(subject.model, layer_below)
    _check_concepts(subject, concepts, truth)

    def dissected(layer: nn.Module | str | None, stage: str) -> Dissection | None:
        if concepts is None or layer is None:
            return None
        return dissect(
            subject.model,
            layer,
            concepts,
            prepare=prepare,
            permutations=permutations,
            seed=seed,
            device=device,
            checkpoint=None if checkpoint is None else checkpoint / f"{stage}.pt",
            report=lambda done: report(stage, done),
        )

    decisions = decide(
        subject.model,
        loader,
        subject.head,
        device=device,
        keep=max(10, top),
        checkpoint=None if checkpoint is None else checkpoint / "decisions.pt",
        report=lambda done: report("decisions", done),
    )
    dissection = dissected(subject.layer, "dissection")
    units = unit_cards(decisions, dissection, subject.unit_names)
    reach = summary.reach_by_class(decisions)
    cards = class_cards(decisions, subject.class_names, units, reach, top=top)
    read = sorted({use.unit for card in cards for use in card.uses})
    images = _illustrate(subject, decisions, read, explained, pictures, top, report)
    again = VerifiedLoader(loader, decisions.hashes)
    ablation = ablate(
        subject.model,
        again,
        subject.head,
        device=device,
        report=lambda done: report("ablation", done),
    )
    graph = _composition(
        subject, decisions, lower, titles_of(dissected(layer_below, "dissection below")), units, top
    )
    multilabel = decisions.is_multilabel
    pairs = (
        ()
        if multilabel
        else contrasts(decisions.weight, decisions.labels, decisions.predicted, top)
    )
    metrics = summary.metrics(decisions, units, cards, ablation, dissection, truth)
    if images.diversity is not None:
        metrics["diversity_at_5"] = summary.diversity_metric(images.diversity)
    weights = metrics["weights_per_class"].value or 0.0
    found = {
        **tables.tables(decisions, units, cards, images.explanations, pairs, graph),
        "ablation": tables.ablation_table(ablation),
        "ablation_classes": tables.ablation_class_table(ablation, subject.class_names),
        "compared": tables.compared_table(decisions.accuracy, weights, ablation, compared),
    }
    if training:
        found["training"] = tables.training_table(training, training_axis)
    if augment is not None:
        changed = under_augmentation(
            subject.model,
            again,
            augment,
            subject.head,
            k=top,
            device=device,
            report=lambda done: report("stability", done),
        )
        found["stability"] = tables.stability_table(changed)
    settings = {"head": decisions.head, "layer": subject.layer, "top": top, **(config or {})}
    skipped = (*getattr(loader, "skipped", ()), *(dissection.skipped if dissection else ()))
    return Study(
        name=printable(name or type(subject.model).__name__),
        class_names=subject.class_names,
        decisions=decisions,
        head_kind=subject.head.kind,
        layer=subject.layer,
        dissection=dissection,
        units=units,
        classes=cards,
        explanations=images.explanations,
        exemplars=images.exemplars,
        contrasts=pairs,
        composition=graph,
        metrics=metrics,
        tables=found,
        provenance=provenance(subject.model, decisions.hashes, settings, seed),
        skipped=tuple((printable(path), printable(why)) for path, why in skipped),
    )


@dataclass(frozen=True)
class _Inputs:
    """How an input is shown."""

    picture: Picture | None
    names: InputNames | None


@dataclass(frozen=True)
class _Subject:
    """The model and data of a study, checked."""

    model: nn.Module
    loader: Iterable[Any]
    head: Head
    layer: str | None
    class_names: tuple[str, ...]
    unit_names: tuple[str, ...] | None
    inputs: _Inputs
    device: torch.device | str | None

    @property
    def units(self) -> int:
        """Inputs of the head."""
        return self.head.weight.shape[1]


def _check_counts(**bounds: tuple[int, int]) -> None:
    for name, (value, least) in bounds.items():
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def _subject(
    model: nn.Module,
    loader: Iterable[Any],
    class_names: Names | None,
    unit_names: Names | None,
    shown: _Inputs,
    layer: nn.Module | str | None,
    head: Head | nn.Module | str | None,
    device: torch.device | str | None,
) -> _Subject:
    """Run a few images through the model, so that what does not fit is said before long passes."""
    if isinstance(loader, Iterator):
        raise ValueError("loader must give its images again in each pass, an iterator gives none")
    inner = plain(model)
    inputs, labels = split_batch(first_batch(loader)[0])
    few = rows(inputs, slice(0, EXAMPLES))
    with ExitStack() as stack_:
        place = stack_.enter_context(placed(inner, device))
        found = find_head(inner, head, on(few, place))
        check_labels(labels, found.outputs)
        read = stack_.enter_context(reading(inner, found))
        units, _ = read.run(on(few, place))
        where = _map_layer(inner, layer, found, on(few, place))
    first = rows(on(few, torch.device("cpu")), 0)
    as_picture(first, shown.picture)
    in_words(first, shown.names)
    names = tuple(printable(each) for each in class_titles(class_names, found.outputs))
    titles = unit_titles(unit_names, shown.names, units, on(few, units.device))
    return _Subject(inner, loader, found, where, names, titles, shown, device)


def _map_layer(
    model: nn.Module, layer: nn.Module | str | None, head: Head, inputs: Inputs
) -> str | None:
    """Name of the layer that has a map for each of the head's units."""
    if layer is None:
        return find_map_layer(model, inputs, head)
    name, module = layer_of(model, layer)
    with captured(module) as maps:
        call(model, inputs)
    units = head.weight.shape[1]
    if maps.values.dim() != 4 or maps.values.shape[1] != units:
        got = "none" if maps.values.dim() != 4 else maps.values.shape[1]
        raise ValueError(f"layer {name!r} must put out {units} maps, one for each unit, got {got}")
    return name


def _check_concepts(
    subject: _Subject, concepts: ConceptImages | None, truth: Tensor | None
) -> None:
    if concepts is None and truth is not None:
        raise ValueError("truth needs concepts, to compare what classes read with it")
    if concepts is None:
        return
    if subject.layer is None:
        raise ValueError("layer must be named: no layer has a map for each unit of the head")
    shape = (len(subject.head.weight), len(concepts.table))
    if truth is not None and tuple(truth.shape) != shape:
        raise ValueError(f"truth must have the shape {shape}, got {tuple(truth.shape)}")


@dataclass(frozen=True)
class _Images:
    """What a pass over the images for their own sake gives."""

    explanations: tuple[Explanation, ...]
    exemplars: dict[int, list[Exemplar]]
    diversity: Tensor | None


def _illustrate(
    subject: _Subject,
    decisions: Decisions,
    units: Sequence[int],
    explained: int,
    pictures: int,
    top: int,
    report: Progress,
) -> _Images:
    """Explained images, and the images that excite units most, in one pass."""
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
            picture=subject.inputs.picture,
            look=look,
            report=lambda done: report("pictures", done),
        )
    explanations = _explanations(subject, decisions, loader, chosen, top)
    return _Images(explanations, best, torch.cat(apart) if apart else None)


def _explanations(
    subject: _Subject, decisions: Decisions, loader: VerifiedLoader, chosen: list[int], top: int
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
            picture=subject.inputs.picture,
            class_names=subject.class_names,
            unit_names=subject.unit_names,
            input_names=subject.inputs.names,
            device=subject.device,
        )
    return tuple(found)


def _composition(
    subject: _Subject,
    decisions: Decisions,
    below: Tensor | None,
    labels_below: Sequence[str] | None,
    units: Sequence[Any],
    top: int,
) -> Composition:
    return compose(
        decisions.weight,
        below,
        class_names=subject.class_names,
        labels=[unit.title for unit in units],
        labels_below=labels_below,
        top=top,
    )
