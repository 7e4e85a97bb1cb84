"""Network dissection of one layer: two passes over labelled images, no map on disk.

Index legend: ``n`` image, ``u`` unit, ``l`` label, ``p`` permutation.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interpretable_sgd.analysis import checkpoints
from interpretable_sgd.analysis.checkpoints import StaleCheckpointError
from interpretable_sgd.analysis.concepts.table import ConceptImages
from interpretable_sgd.analysis.dissection.batches import ConceptBatch, Prepare, ShuffledBatches
from interpretable_sgd.analysis.dissection.counting import count
from interpretable_sgd.analysis.dissection.pixel_counts import PixelCounts
from interpretable_sgd.analysis.dissection.progress import ProgressCheckpoint
from interpretable_sgd.analysis.dissection.result import Dissection
from interpretable_sgd.analysis.dissection.scores import ImageSet, check_image_set
from interpretable_sgd.analysis.dissection.thresholds import HighestValues, check_quantile
from interpretable_sgd.analysis.forward import captured, evaluating, layer_of, placed, plain
from interpretable_sgd.analysis.provenance import fingerprint, versions


def dissect(
    model: nn.Module,
    layer: nn.Module | str,
    concepts: ConceptImages,
    *,
    quantile: float = 0.005,
    image_set: ImageSet = "category",
    permutations: int = 19,
    basis: Tensor | None = None,
    prepare: Prepare | None = None,
    batch: int = 64,
    workers: int = 0,
    device: torch.device | str | None = None,
    seed: int = 0,
    memory: int = 2**28,
    checkpoint: Path | None = None,
    report: Callable[[int], None] = lambda images: None,
) -> Dissection:
    r"""Which concept each unit of a layer shows: Network Dissection (Bau et al., CVPR 2017).

    .. math:: M_u = \{x: \uparrow a_u(x) > T_u\}, \quad P(a_u > T_u) = q, \quad
        IoU_{ul} = |M_u \cap L_l| / |M_u \cup L_l|

    The first pass finds the thresholds T_u, the second counts pixels. Two things make a label
    credible that an IoU alone does not: which images count (`Dissection` names both conventions),
    and the null, the same counts with the labels of other images. Labels are permuted within random
    batches, which leaves everything but the pairing of maps and labels as it is.

    Memory depends on units, labels, permutations and the batch, not on the number of images.

    Args:
        model: any module; evaluated without gradients and left as it was.
        layer: whose outputs are the units, or its dotted name; it gives maps (n, u, h, w),
            or units (n, u), which are maps of one position.
        concepts: labelled images. Those that cannot be read are skipped, counted and reported.
        quantile: q, in (0, 1).
        image_set: the convention that decides labels, ``"category"`` or ``"touched"``.
        permutations: of the null, p >= 0; 19 is the least that reaches level 0.05, 0 for no null.
        basis: units are the layer's times this, (u', u); `random_basis` gives units that mean
            nothing. None for the layer's own.
        prepare: from a sample's image to the model's input, all of one shape; None for floats in
            [0, 1] and nothing else.
        batch: images at a time, and within which labels are permuted; >= 2 with a null.
        workers: processes that read images; 0 reads in this one.
        device: to run the model on; it is moved there and back. None for where it is.
        seed: of the order of images and of the null.
        memory: bytes for the values that thresholds are read from; exact where they suffice, see
            `HighestValues`.
        checkpoint: file to go on from if a pass was cut off; written every minute. What was done is
            read once more and compared, not run. One of other data is set aside, with a warning, and
            the passes start anew.
        report: told after each batch how many images are done, of twice their number.

    Returns:
        Counts and what follows from them.

    Raises:
        ValueError: an argument is out of range; the layer gives no maps or maps that are not finite;
            no image could be read; the concepts differ from pass to pass; the checkpoint is of
            another model, layer or setting.

    >>> from interpretable_sgd.analysis.concepts.arrays import ConceptArrays
    >>> layer = nn.Conv2d(3, 1, 1, bias=False).requires_grad_(False)
    >>> _ = layer.weight.copy_(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1))
    >>> images = torch.rand(40, 3, 8, 8)
    >>> red = ConceptArrays.of_masks(images, images[:, :1] > 0.9, names=["red"])
    >>> found = dissect(layer, "", red, quantile=0.1)
    >>> found.best.shape, found.concept_of(0)
    (torch.Size([1]), 'red')
    """
    check_quantile(quantile)
    check_image_set(image_set)
    if permutations < 0:
        raise ValueError(f"permutations must be at least 0, got {permutations}")
    if permutations and batch < 2:
        raise ValueError(f"batch must be at least 2 to permute labels within it, got {batch}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    inner = plain(model)
    name, module = layer_of(inner, layer)
    batches = ShuffledBatches(concepts, batch, seed, prepare)
    with placed(inner, device) as place, evaluating(inner), torch.no_grad():

        def maps_of(images: ConceptBatch) -> Tensor:
            with captured(module) as maps:
                inner(images.images.to(place))
            raw = _checked(maps.values, images, name, concepts)
            return raw if basis is None else _in_basis(raw, basis)

        def stream(first: int, last: int) -> Iterator[ConceptBatch]:
            return batches.stream(first, last, workers)

        probe = maps_of(_first_readable(batches))
        _, units, height, width = probe.shape
        owner = _owner(inner, name, concepts, [quantile, permutations, batch, seed, memory, basis])

        def run() -> tuple[HighestValues, Tensor, PixelCounts, ProgressCheckpoint]:
            highest = HighestValues(units, len(concepts) * height * width, quantile, memory, seed)
            counts = PixelCounts.zeros(permutations + 1, units, concepts.table)
            peaks = probe.amax((0, 2, 3))
            progress = ProgressCheckpoint(checkpoint, owner, peaks, len(batches), highest, counts)
            for each in progress.first_pass(stream):
                highest.add(maps_of(each), each.indices)
                report(each.last)
            thresholds = highest.thresholds()
            for each in progress.second_pass(stream):
                pairings = _pairings(len(each.labels), permutations, each.number, seed)
                count(counts, maps_of(each), thresholds, each.labels, pairings)
                counts.add_areas(each.labels)
                report(len(concepts) + each.last)
            return highest, thresholds, counts, progress

        try:
            highest, thresholds, counts, progress = run()
        except StaleCheckpointError as error:
            if checkpoint is None:
                raise
            checkpoints.set_aside(checkpoint, error)
            highest, thresholds, counts, progress = run()
    return Dissection(
        layer=name,
        table=concepts.table,
        image_set=image_set,
        quantile=quantile,
        thresholds=thresholds,
        rank_error=highest.rank_error,
        intersection=counts.intersection[0].clone(),
        unit_area={"category": counts.category[0].clone(), "touched": counts.touched[0].clone()},
        label_area=counts.label_area,
        null=counts.best(image_set)[1:],
        images=progress.images,
        skipped=tuple(sorted(progress.skipped.items())),
    )


def _checked(maps: Tensor, batch: ConceptBatch, layer: str, concepts: ConceptImages) -> Tensor:
    """Maps in float32 on the CPU, one for each image."""
    if len(maps) != len(batch.indices):
        raise ValueError(
            f"layer {layer!r} must run once on the batch of {len(batch.indices)} images, "
            f"it gave maps of shape {tuple(maps.shape)}"
        )
    maps = maps.float().cpu()
    finite = maps.isfinite().flatten(1).all(1)
    if not finite.all():
        index = batch.indices[int(finite.logical_not().nonzero()[0])]
        raise ValueError(
            f"maps of layer {layer!r} must be finite, and are not for {concepts.name(index)}"
        )
    return maps


def _in_basis(maps: Tensor, basis: Tensor) -> Tensor:
    if basis.dim() != 2 or basis.shape[1] != maps.shape[1]:
        raise ValueError(f"basis must be (u', {maps.shape[1]}), got {tuple(basis.shape)}")
    return torch.einsum("vu,nuhw->nvhw", basis.float().cpu(), maps)


def _first_readable(batches: ShuffledBatches) -> ConceptBatch:
    """The first batch with an image that can be read."""
    for number in range(len(batches)):
        batch = batches[number]
        if batch.indices:
            return batch
        name, reason = batch.skipped[0]
    raise ValueError(f"at least one image must be readable, none is; {name}: {reason}")


def _pairings(images: int, permutations: int, batch: int, seed: int) -> Tensor:
    """Labels for each image of a batch, (p + 1, n): its own first, then those of others."""
    generator = np.random.default_rng([seed, batch])
    permuted = [generator.permutation(images) for _ in range(permutations)]
    return torch.from_numpy(np.stack([np.arange(images), *permuted]))


def _owner(
    model: nn.Module, layer: str, concepts: ConceptImages, settings: list[Any]
) -> dict[str, Any]:
    """What a checkpoint must belong to."""
    values = [x.tolist() if isinstance(x, Tensor) else x for x in settings]
    return {
        "model": fingerprint(model),
        "layer": layer,
        "images": len(concepts),
        "concepts": [(c.number, c.name, c.category) for c in concepts.table.concepts],
        "settings": values,
        "version": versions()["interpretable-sgd"],
    }
