"""Subject of a study: the model and its data, checked on a few images before any long pass."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.batches import (
    Inputs,
    call,
    check_labels,
    first_batch,
    on,
    rows,
    split_batch,
)
from interpretable_sgd.analysis.composition import connections
from interpretable_sgd.analysis.concepts.files import printable
from interpretable_sgd.analysis.concepts.table import ConceptImages
from interpretable_sgd.analysis.decisions import EXAMPLES
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
from interpretable_sgd.analysis.images import Picture, as_picture
from interpretable_sgd.analysis.names import (
    InputNames,
    Names,
    class_titles,
    in_words,
    unit_titles,
)


@dataclass(frozen=True)
class Subject:
    """A model and its data.

    Attributes:
        model: not compiled.
        loader: gives the same batches in each pass.
        head: of the model.
        layer: whose maps are the head's units; None where it reads no maps.
        class_names: of all classes.
        unit_names: as their user knows them; None for none.
        picture: turns an input to a picture; None for no pictures.
        input_names: of features or tokens; None for none.
        device: to run on; None for where the model is.
    """

    model: nn.Module
    loader: Iterable[Any]
    head: Head
    layer: str | None
    class_names: tuple[str, ...]
    unit_names: tuple[str, ...] | None
    picture: Picture | None
    input_names: InputNames | None
    device: torch.device | str | None

    @property
    def units(self) -> int:
        """Inputs of the head."""
        return self.head.weight.shape[1]

    def weights_below(
        self, below: nn.Module | str | None, layer_below: nn.Module | str | None
    ) -> Tensor | None:
        """Weights that make the head's units, (M, B), on the CPU; None without that layer.

        Raises:
            TypeError: the layer is of another kind.
            ValueError: the model has no such layer, or it makes something else.
        """
        if layer_below is not None:
            layer_of(self.model, layer_below)
        if below is None:
            return None
        weights = connections(layer_of(self.model, below)[1]).cpu()
        if len(weights) != self.units:
            raise ValueError(
                f"below must make the {self.units} units of the head, it makes {len(weights)}"
            )
        return weights

    def check_concepts(self, concepts: ConceptImages | None, truth: Tensor | None) -> None:
        """Raise ValueError unless units can be named by these concepts, and classes compared."""
        if concepts is None:
            if truth is not None:
                raise ValueError("truth needs concepts, to compare what classes read with it")
            return
        if self.layer is None:
            raise ValueError("layer must be named: no layer has a map for each unit of the head")
        shape = (len(self.head.weight), len(concepts.table))
        if truth is not None and tuple(truth.shape) != shape:
            raise ValueError(f"truth must have the shape {shape}, got {tuple(truth.shape)}")


def subject_of(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    head: Head | nn.Module | str | None,
    layer: nn.Module | str | None,
    class_names: Names | None,
    unit_names: Names | None,
    input_names: InputNames | None,
    picture: Picture | None,
    device: torch.device | str | None,
) -> Subject:
    """Run a few images through the model, so that what does not fit is said before long passes.

    The arguments are those of `study`.

    Raises:
        TypeError: the loader gives something else than batches; names are a single string.
        ValueError: names, layers or pictures do not fit; the loader gives its batches once.
    """
    if isinstance(loader, Iterator):
        raise ValueError("loader must give its images again in each pass, an iterator gives none")
    inner = plain(model)
    inputs, labels = split_batch(first_batch(loader)[0])
    few = rows(inputs, slice(0, EXAMPLES))
    with ExitStack() as stack:
        place = stack.enter_context(placed(inner, device))
        given = on(few, place)
        found = find_head(inner, head, given)
        check_labels(labels, found.outputs)
        units, _ = stack.enter_context(reading(inner, found)).run(given)
        where = _map_layer(inner, layer, found, given)
        titles = unit_titles(unit_names, input_names, units, given)
    first = rows(on(few, torch.device("cpu")), 0)
    as_picture(first, picture)
    in_words(first, input_names)
    names = tuple(printable(name) for name in class_titles(class_names, found.outputs))
    return Subject(inner, loader, found, where, names, titles, picture, input_names, device)


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
