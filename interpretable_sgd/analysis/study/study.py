"""A study from beginning to end: decisions, dissection, pictures, and the tables of what was found."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.ablation import ablate
from interpretable_sgd.analysis.chosen import explain_chosen, spread_evenly
from interpretable_sgd.analysis.composition import compose, connections
from interpretable_sgd.analysis.concepts.samples import ConceptImages
from interpretable_sgd.analysis.confusions import contrasts
from interpretable_sgd.analysis.decisions import Decisions, decide
from interpretable_sgd.analysis.dissection.dissect import dissect
from interpretable_sgd.analysis.dissection.result import Dissection
from interpretable_sgd.analysis.exemplars import Exemplar, exemplars
from interpretable_sgd.analysis.forward import pair, placed, plain
from interpretable_sgd.analysis.head_search import find_head
from interpretable_sgd.analysis.heads import Head
from interpretable_sgd.analysis.images import Picture, stretched
from interpretable_sgd.analysis.interpretability_metrics import diversity
from interpretable_sgd.analysis.maps import find_map_layer, layer_of
from interpretable_sgd.analysis.provenance import Watched, provenance
from interpretable_sgd.analysis.stability import under_augmentation
from interpretable_sgd.analysis.study import findings, summary, trials
from interpretable_sgd.analysis.study.class_cards import class_cards
from interpretable_sgd.analysis.study.record import Compared, Curves, Study
from interpretable_sgd.analysis.study.unit_cards import unit_cards, unit_titles

Progress = Callable[[str, int], None]


def study(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    class_names: Sequence[str] | None = None,
    concepts: ConceptImages | None = None,
    layer: nn.Module | str | None = None,
    head: Head | nn.Module | str | None = None,
    below: nn.Module | str | None = None,
    layer_below: nn.Module | str | None = None,
    truth: Tensor | None = None,
    compared: Sequence[Compared] = (),
    training: Curves | None = None,
    training_axis: str = "step",
    augment: Callable[[Tensor], Tensor] | None = None,
    name: str | None = None,
    picture: Picture = stretched,
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
    images if there are any; memory does not grow with either, but for a few numbers an image.

    Args:
        model: whose head is Linear, Dynamic or a 1x1 convolution; left as it was.
        loader: batches of images and labels, in the same order in each pass. If it has `skipped`,
            pairs of a name and a reason, the report says what could not be read.
        class_names: of all classes; their numbers if None.
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
        augment: changes images a little, to see whether the same units decide; None to leave it.
        name: of the model; its class's name if None.
        picture: turns an input of the model to a picture in [0, 1]; see `denormalized`.
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
        What `interpretable_sgd.report.render` shows.

    Raises:
        ValueError: names, shapes or layers do not fit; the loader gives other images in another pass.

    >>> body = (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> found = study(nn.Sequential(*body, nn.Linear(8, 4)), [(torch.rand(8, 3, 9, 9), torch.arange(8) % 4)])
    >>> found.layer, len(found.classes), found.figures["units"].value
    ('1', 4, 8)
    """
    model = plain(model)
    found = find_head(model, head)
    names = _names(class_names, len(found.weight))
    saved = _places(checkpoint)
    watched = Watched(loader)
    decisions = decide(
        model,
        watched,
        found,
        device=device,
        keep=max(10, top),
        checkpoint=saved("decisions.pt"),
        report=lambda done: report("decisions", done),
    )
    where = _map_layer(model, loader, layer, found, device)
    if concepts is not None and where is None:
        raise ValueError("layer must be named: no layer has a map for each unit of the head")

    def dissected(layer: nn.Module | str | None, stage: str) -> Dissection | None:
        if concepts is None or layer is None:
            return None
        return dissect(
            model,
            layer,
            concepts,
            prepare=prepare,
            permutations=permutations,
            seed=seed,
            device=device,
            checkpoint=saved(f"{stage}.pt"),
            report=lambda done: report(stage, done),
        )

    dissection = dissected(where, "dissection")
    units = unit_cards(decisions, dissection)
    cards = class_cards(decisions, names, units, summary.reach_by_class(decisions), top=top)
    chosen = spread_evenly(decisions, explained)
    again = Watched(loader, wanted=set(chosen))
    looks: list[Tensor] = []
    found_pictures = _pictures(
        model,
        again,
        where,
        sorted({use.unit for card in cards for use in card.uses}),
        count=pictures,
        device=device,
        picture=picture,
        look=lambda maps, first: looks.append(_apart(maps, decisions, first, top)),
        report=lambda done: report("pictures", done),
    )
    if again.hash != watched.hash:
        raise ValueError("loader must give the same images in the same order in each pass")
    explanations = explain_chosen(model, again, chosen, found, where, top, picture, device)
    ablation = ablate(
        model, loader, found, device=device, report=lambda done: report("ablation", done)
    )
    pairs = contrasts(decisions.weight, decisions.labels, decisions.predicted, top)
    lower = None if below is None else connections(layer_of(model, below)[1]).cpu()
    graph = compose(
        decisions.weight,
        lower,
        class_names=names,
        labels=[unit.title for unit in units],
        labels_below=unit_titles(dissected(layer_below, "dissection below")),
        top=top,
    )
    numbers = summary.figures(decisions, units, cards, ablation, dissection, truth)
    if looks:
        numbers["diversity_at_5"] = summary.diversity_figure(torch.cat(looks))
    weights = numbers["weights_per_class"].value or 0.0
    tables = {
        **findings.tables(decisions, units, cards, explanations, pairs, graph),
        "ablation": trials.ablation_table(ablation),
        "ablation_classes": trials.ablation_class_table(ablation, names),
        "compared": trials.compared_table(decisions.accuracy, weights, ablation, compared),
    }
    if training:
        tables["training"] = trials.training_table(training, training_axis)
    if augment is not None:
        changed = under_augmentation(
            model,
            loader,
            augment,
            found,
            k=top,
            device=device,
            report=lambda done: report("stability", done),
        )
        tables["stability"] = trials.stability_table(changed)
    settings = {"head": found.name, "layer": where, "top": top, **(config or {})}
    return Study(
        name=name or type(model).__name__,
        class_names=names,
        decisions=decisions,
        head_kind=found.kind,
        layer=where,
        dissection=dissection,
        units=units,
        classes=cards,
        explanations=tuple(explanations),
        exemplars=found_pictures,
        contrasts=pairs,
        composition=graph,
        figures=numbers,
        tables=tables,
        provenance=provenance(model, watched.hash, settings, seed),
        skipped=(*getattr(loader, "skipped", ()), *(dissection.skipped if dissection else ())),
    )


def _names(class_names: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    names = tuple(map(str, range(classes) if class_names is None else class_names))
    if len(names) != classes:
        raise ValueError(f"class_names must be {classes} names, got {len(names)}")
    return names


def _places(checkpoint: Path | None) -> Callable[[str], Path | None]:
    return lambda name: None if checkpoint is None else checkpoint / name


def _map_layer(
    model: nn.Module,
    loader: Iterable[Any],
    layer: nn.Module | str | None,
    head: Head,
    device: torch.device | str | None,
) -> str | None:
    """Name of the layer that has a map for each of the head's units."""
    if layer is not None:
        return layer_of(model, layer)[0]
    first = next(iter(loader), None)
    if first is None:
        raise ValueError("loader must give its images again in each pass, it gave none")
    images, _ = pair(first)
    with placed(model, device) as place:
        return find_map_layer(model, images[:1].to(place), head.weight.shape[1])


def _pictures(
    model: nn.Module, loader: Watched, where: str | None, units: Sequence[int], **options: Any
) -> dict[int, list[Exemplar]]:
    """Exemplars of the units, and in passing the images to explain."""
    if where is None or not options["count"]:
        for _ in loader:
            pass
        return {}
    return exemplars(model, loader, layer_of(model, where)[1], units, **options)


def _apart(maps: Tensor, decisions: Decisions, first: int, k: int) -> Tensor:
    """How far apart the units of the predicted classes look, for a batch's maps."""
    predicted = decisions.predicted[first : first + len(maps)]
    return diversity(maps, decisions.weight, predicted, k=min(k, decisions.weight.shape[1]))
