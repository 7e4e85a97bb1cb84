"""Where runs are trained: on which device, with which data at hand, and where results go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from experiments.datasets.concepts import GeneratedConcepts, drawn, open_concepts
from experiments.datasets.dataset import Images, Labelled
from experiments.datasets.registry import open_images
from experiments.datasets.synthetic.base import Generated
from experiments.evaluation.unit_labels import Labeller, Some
from experiments.paper.grids import CONCEPTS
from experiments.paper.planned import Planned
from experiments.training.distributed import ALONE, Ranks
from interpretable_sgd.analysis.concepts import ConceptImages

IN_MEMORY = 2**24  # pixels of labelled images up to which they are drawn once and kept


@dataclass(frozen=True)
class Place:
    """A device and what surrounds it; a run's result depends on the data and the kind of device alone.

    Attributes:
        out: folder of results.
        sources: by name, the data that lies elsewhere, as `name:path`.
        device: to train on.
        workers: processes that read images.
        ranks: that train each run together, of which this process is one; or it is alone.
    """

    out: Path
    sources: Mapping[str, str]
    device: str = "cpu"
    workers: int = 0
    ranks: Ranks = ALONE

    def text(self, data: str) -> str:
        """How a grid's data set is opened here."""
        return data if ":" in data else self.sources.get(data, data)

    def images(self, planned: Planned) -> Images:
        """The data of a run.

        Raises:
            ValueError: no such data; no images held out; see `open_images`.
        """
        images = _images(self.text(planned.data), planned.scale, planned.seed, self.out)
        required(images.validation)
        return images

    @property
    def concepts(self) -> str | None:
        """What units are labelled by instead of the images' own concepts."""
        return self.sources.get(CONCEPTS)

    def labeller(self, images: Images, scale: str, split: str, count: int) -> Labeller | None:
        """Labels units by so many images of known concepts; None where there are none."""
        if self.concepts is not None:
            concepts: ConceptImages = Some(_labelled(self.concepts, scale, self.out), count)
        elif images.drawn is not None:
            concepts = _drawn(images.drawn, split, count)
        else:
            return None
        return Labeller(concepts, images.prepare, self.workers)


def required(validation: Labelled | None) -> Labelled:
    """Images that choices and curves look at.

    Raises:
        ValueError: none were held out.
    """
    if validation is None:
        raise ValueError("hold_out must be above 0, as choices and curves need images, got 0")
    return validation


# what one run after another asks for again
@lru_cache(maxsize=2)
def _images(text: str, scale: str, seed: int, out: Path) -> Images:
    return open_images(text, scale=_of_data(scale), seed=seed, out=out)


@lru_cache(maxsize=1)
def _labelled(text: str, scale: str, out: Path) -> ConceptImages:
    return open_concepts(text, scale=_of_data(scale), out=out)


def _of_data(scale: str) -> str:
    # the authors' code differs from the paper in its recipe, not in its data
    return "paper" if scale == "code" else scale


@lru_cache(maxsize=4)
def _drawn(source: Generated, split: str, count: int) -> ConceptImages:
    small = count * source.size**2 <= IN_MEMORY
    return drawn(source, split, count) if small else GeneratedConcepts(source, split, count)
