"""One run: a data set, a network, a method, a recipe and a seed; prepared, trained, evaluated, stored."""

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from experiments import rng, store
from experiments.datasets.concepts import GeneratedConcepts, concept_arrays, open_concepts
from experiments.datasets.dataset import LabelledData, collate, even_subset, size_of
from experiments.datasets.registry import SCALES as DATA_SCALES
from experiments.datasets.registry import open_data
from experiments.datasets.synthetic.base import Generated
from experiments.evaluation.callbacks import EpochMetrics, StepMetrics
from experiments.evaluation.concept_agreement import concept_agreement, unit_concepts
from experiments.evaluation.metrics import Outputs, decision_metrics, head_metrics, read
from experiments.evaluation.snapshots import Arrays, decisions, inner_routes, labelled, top_images
from experiments.evaluation.sparse_heads import PostHoc, head_records, sparse_heads
from experiments.evaluation.unit_labels import EvenSubset, UnitLabeller, class_f1, unit_metrics
from experiments.methods import EXPECTED_WARNING, Method
from experiments.models.registry import Model, units_of
from experiments.recipes import Recipe
from experiments.training.distributed import ALONE, Ranks
from experiments.training.loop import Progress, Training
from interpretable_sgd import analysis
from interpretable_sgd.analysis.concepts import ConceptImages

CONCEPTS = "broden"  # what units are labelled by where images carry no concepts; no table's data
IN_MEMORY = 2**24  # pixels of labelled images up to which they are drawn once and kept
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Protocol:
    """What is measured of a run, and on how many images; 0 leaves a part out.

    Attributes:
        split: what is judged on: "test", or "validation" for runs that a choice may look at, which never
            draw or read a test image.
        watched: validation and training images looked at after each epoch; None for all validation images
            and no training images.
        looked: concept images that units are labelled by at some epochs.
        dissected: concept images that units are labelled by in the end.
        agreement: images on which classes are compared with the concepts of generated data.
        curves: whether numbers are recorded after each step.
        literal: train on all images, as the paper does: none is held out, and curves show test images, which
            nothing is chosen by.
        shown: test images that are stored with their maps, for figures.
        post_hoc: heads that are fitted afterwards on the frozen units; None for none.
    """

    split: str = "test"
    watched: int | None = None
    looked: int = 0
    dissected: int = 0
    agreement: int = 0
    curves: bool = False
    literal: bool = False
    shown: int = 0
    post_hoc: PostHoc | None = None


@dataclass(frozen=True)
class Environment:
    """Where runs are trained; a result depends on the data and the kind of device alone.

    Attributes:
        out: folder of results.
        sources: by name, the data that lies elsewhere, as `name:path`.
        device: to train on.
        workers: processes that read images.
        ranks: that train each run together, of which this process is one; or it is alone.
    """

    out: Path
    sources: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    workers: int = 0
    ranks: Ranks = ALONE

    def text(self, data: str) -> str:
        """How a grid's data set is opened here."""
        return data if ":" in data else self.sources.get(data, data)

    def data(self, run: "Run") -> LabelledData:
        """The data of a run.

        Raises:
            ValueError: no such data; no images held out, but by a protocol that says so; see `open_data`.
        """
        text, literal = self.text(run.data), run.protocol.literal
        hold_out = 0 if literal and "hold_out=" not in text else None
        data = _data(text, data_scale(run.scale), run.seed, self.out, hold_out)
        if not literal:
            data.split("validation")
        return data

    def labeller(
        self, data: LabelledData, scale: str, split: str, count: int
    ) -> UnitLabeller | None:
        """Labels units by so many images of known concepts; None where there are none, or none are wanted."""
        if not count:
            return None
        if CONCEPTS in self.sources:
            known = _concepts(self.sources[CONCEPTS], data_scale(scale), self.out)
            concepts: ConceptImages = EvenSubset(known, count)
        elif data.source is not None:
            concepts = _drawn_concepts(data.source, split, count)
        else:
            return None
        return UnitLabeller(concepts, data.prepare, self.workers)


class Prepared(NamedTuple):
    """A network before its first step, and its optimizer."""

    model: nn.Module
    optimizer: Optimizer


@dataclass(frozen=True)
class Run:
    """One training, as plain values.

    Attributes:
        data: the data set's name, with its options but without its path.
        model: the network.
        method: how it is trained.
        recipe: how long and at which settings; the method may change it.
        protocol: what is measured of it.
        scale: of the grid that it belongs to.
        seed: of drawn data, the weights, the order, the augmentation and the masks.
        begin: the finished run whose weights this one goes on from; None for new ones.
    """

    data: str
    model: Model
    method: Method
    recipe: Recipe
    protocol: Protocol
    scale: str
    seed: int
    begin: "Run | None" = None

    def __post_init__(self) -> None:
        # a method's own settings apply wherever it is used
        object.__setattr__(self, "recipe", self.recipe.changed(self.method.recipe))

    def __hash__(self) -> int:
        return hash(self.label)

    @property
    def key(self) -> dict[str, Any]:
        """What names it among others."""
        names = {"model": self.model.name, "method": self.method.name}
        return {**names, "data": self.data, "scale": self.scale, "seed": self.seed}

    @property
    def label(self) -> str:
        """The readable part of its folder's name."""
        return store.label(self.key)

    def steps(self, data: LabelledData) -> int:
        """Optimizer steps of the whole run."""
        return self.recipe.epochs * self._steps_per_epoch(data)

    def _steps_per_epoch(self, data: LabelledData) -> int:
        return size_of(data.train) // self.recipe.batch

    def prepare(self, data: LabelledData, device: str = "cpu") -> Prepared:
        """The network with weights that are a function of the seed, and its optimizer."""
        with rng.isolated():
            torch.manual_seed(self.seed)
            model = self.model.build(data.shape, data.classes)
            self.method.prepared(model)
        model.to(device)
        recipe = self.recipe.lasting(self._steps_per_epoch(data))
        return Prepared(model, self.method.build(model, recipe, self.seed))

    def config(self, data: LabelledData, environment: Environment) -> dict[str, Any]:
        """All that decides what comes of it, as JSON."""
        with rng.isolated():
            model = self.method.prepared(self.model.build(data.shape, data.classes))
        settings = self.method.settings(model, self.recipe, self.seed)
        config = {
            **self.key,
            "network": {"function": self.model.function, **self.model.options},
            "training": self.method.config(),
            "optimizer": settings,
            "recipe": self.recipe.config(),
            "protocol": asdict(self.protocol),
            "samples": data.identity,
            "classes": data.classes,
            "shape": data.shape,
            "concepts": "broden" if CONCEPTS in environment.sources else "of the images",
            "device": torch.device(environment.device).type,
            "threads": torch.get_num_threads(),
            "versions": store.versions(),
        }
        if self.begin is not None:
            config["begin"] = store.digest(self.begin.config(data, environment))
        return dict(json.loads(store.canonical(config)))

    def stored(self, environment: Environment) -> store.Stored | None:
        """What came of exactly this configuration, if it is finished."""
        config = self.config(environment.data(self), environment)
        return environment.ranks.first_does(lambda: store.find(environment.out, config))

    def train(
        self, environment: Environment, report: Callable[[Progress], None] = lambda at: None
    ) -> store.Stored:
        """Train from the newest checkpoint or from the start, evaluate, save.

        Raises:
            KeyboardInterrupt: somebody asked to stop; the checkpoint is where it goes on.
        """
        data, ranks = environment.data(self), environment.ranks
        config = self.config(data, environment)
        training = self._training(data, config, environment)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=EXPECTED_WARNING)
            training.run(store.folder(environment.out, config) / store.CHECKPOINTS, report)
        return ranks.first_does(lambda: self._finish(training, data, config, environment))

    def _training(
        self, data: LabelledData, config: dict[str, Any], environment: Environment
    ) -> Training:
        recipe, protocol, ranks = self.recipe, self.protocol, environment.ranks
        data.train[0, 0]  # what is drawn when it is asked for is not drawn at training's cost
        model, optimizer = self.prepare(data, environment.device)
        if self.begin is not None:
            begun = self.begin.stored(environment)
            if begun is None:
                raise ValueError(f"begin must be a finished run, got {self.begin}")
            model.load_state_dict(begun.weights())
        steps = StepMetrics(data.train, recipe.batch, self.steps(data), self.seed)
        labeller = environment.labeller(data, self.scale, "validation", protocol.looked)
        epochs = EpochMetrics(
            data, protocol.watched, labeller, recipe.epochs, environment.workers, protocol.literal
        )
        return Training(
            model,
            optimizer,
            data.train,
            recipe,
            seed=self.seed,
            config=config,
            each_step=steps if protocol.curves else None,
            each_epoch=lambda net, epoch: ranks.first_does(lambda: epochs(net, epoch)),
            collate=collate,
            device=environment.device,
            workers=environment.workers,
            ranks=ranks,
        )

    def _finish(
        self,
        training: Training,
        data: LabelledData,
        config: dict[str, Any],
        environment: Environment,
    ) -> store.Stored:
        """Evaluate and save; where several ranks have trained, the first alone does."""
        record, arrays = self.evaluate(training.trained, data, environment)
        record |= {
            "epochs": training.epochs,
            "curves": {name: [*zip(*at, strict=True)] for name, at in training.curves.items()},
            "steps": training.step,
            "seconds": training.seconds,
            "measuring_seconds": training.measuring_seconds,
            "hardware": {**store.hardware(environment.device), "ranks": environment.ranks.count},
        }
        weights = training.trained.state_dict()
        return store.save(environment.out, config, record, arrays, weights)

    def evaluate(
        self, model: nn.Module, data: LabelledData, environment: Environment
    ) -> tuple[store.Record, Arrays]:
        """The numbers and the arrays of a trained network; test images are read here, once."""
        protocol, workers = self.protocol, environment.workers
        held = read(model, data.held, workers)
        on_validation = protocol.split == "validation"
        judged = held if on_validation else read(model, data.test, workers)
        parts = (data.plain, data.validation, None if on_validation else data.test)
        named = zip(SPLITS, parts, strict=True)
        sizes = {name: size_of(part) for name, part in named if part is not None}
        record: store.Record = {
            **decision_metrics(model, judged),
            **head_metrics(model),
            "validation_accuracy": None if data.validation is None else held.accuracy(),
            "split": protocol.split,
            "unit_labels": None,
            "n": sizes,
        }
        arrays: Arrays = {}
        if protocol.shown:
            arrays |= decisions(model, data, protocol.shown)
        labeller = environment.labeller(data, self.scale, protocol.split, protocol.dissected)
        if labeller is not None:
            labels = labeller.label(model, units_of(model))
            known = data.source is not None and CONCEPTS not in environment.sources
            composition = data.source.composition if known and data.source else None
            weight = analysis.find_head(model).weight
            f1 = None if composition is None else class_f1(weight, labels, composition)
            record["unit_labels"] = {**unit_metrics(labels), "f1": f1}
            arrays |= labelled(labels, "unit_")
        if protocol.shown:
            arrays |= inner_routes(model, labeller)
            arrays |= top_images(model, data.held, arrays, workers)
        return record | self._heads(model, data, held, judged, workers), arrays

    def _heads(
        self,
        model: nn.Module,
        data: LabelledData,
        held: Outputs,
        judged: Outputs,
        workers: int,
    ) -> store.Record:
        """How well classes agree with concepts, and heads that are fitted on the frozen units."""
        protocol, head = self.protocol, analysis.find_head(model)
        record: store.Record = {}
        known = None
        if protocol.agreement and data.source is not None:
            n = min(protocol.agreement, len(judged.labels))
            known = unit_concepts(model, data.source, protocol.split, n)
            record["agreement"] = concept_agreement(head.weight, known)
        plan = protocol.post_hoc
        if plan is not None:
            plain = data.plain if plan.images is None else even_subset(data.plain, plan.images)
            heads = sparse_heads(head, read(model, plain, workers), held, plan)
            record["sparse_heads"] = head_records(heads, judged, held)
            if known is not None:
                for entry, fitted in zip(record["sparse_heads"], heads, strict=True):
                    entry["agreement"] = concept_agreement(fitted.weight, known)
        return record


def scaled(run: Run, share: float) -> Run:
    """The same with fewer epochs, for a quick look at the machinery."""
    return run if share == 1 else replace(run, recipe=run.recipe.scaled(share))


def data_scale(scale: str) -> str:
    """How large drawn data is, and whether stand-ins will do, at a scale of a grid."""
    # the authors' code differs from the paper in its recipe, not in its data
    return "paper" if scale == "code" else scale if scale in DATA_SCALES else "tiny"


# what one run after another asks for again
@lru_cache(maxsize=2)
def _data(text: str, scale: str, seed: int, out: Path, hold_out: int | None) -> LabelledData:
    return open_data(text, scale=scale, seed=seed, out=out, hold_out=hold_out)


@lru_cache(maxsize=1)
def _concepts(text: str, scale: str, out: Path) -> ConceptImages:
    return open_concepts(text, scale=scale, out=out)


@lru_cache(maxsize=4)
def _drawn_concepts(source: Generated, split: str, count: int) -> ConceptImages:
    small = count * source.size**2 <= IN_MEMORY
    return (
        concept_arrays(source, split, count) if small else GeneratedConcepts(source, split, count)
    )
