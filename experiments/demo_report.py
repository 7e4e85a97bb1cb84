"""A report for each data set of the demo, of the first seed's network, beside the others' accuracy."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from experiments.datasets.concepts import concept_arrays
from experiments.datasets.dataset import LabelledData, size_of
from experiments.datasets.registry import open_data
from experiments.evaluation.metrics import batches
from experiments.methods import OURS
from experiments.models.classifiers import Classifier
from experiments.models.registry import Model
from experiments.run import Environment
from experiments.store import Stored
from interpretable_sgd import analysis, report

CONCEPT_IMAGES = 1000  # validation images with exact masks, to name units by
OUTLINES = "; outlined: the true shapes of its class"
ENLARGED = 4  # times, so that a line is thinner than a pixel of the image
SMOOTHED = 10  # steps that a point of the loss curve is the mean of
Curve = tuple[list[float], list[float]]


def write_reports(environment: Environment, runs: Sequence[Stored]) -> list[Path]:
    """One page per data set, `report-DATA.html`, with its numbers as `report-DATA.json`."""
    paths, out = list[Path](), environment.out
    for data in dict.fromkeys(run["data"] for run in runs):
        on_data = [run for run in runs if run["data"] == data]
        read = [run for run in on_data if run["method"] == OURS.name]
        if read:
            name = data.partition(":")[0]
            page = study(read[0], on_data, environment.text(data))
            page.to_json(out / f"report-{name}.json")
            paths.append(report.write(page, out / f"report-{name}.html"))
    return paths


def study(run: Stored, runs: Sequence[Stored], text: str) -> analysis.Study:
    """One network on its test images; its concepts are those of the data, where it has any."""
    data = open_data(text, seed=run["seed"])
    network = dict(run["config"]["network"])
    model = Model(network.pop("function"), network).build(data.shape, data.classes)
    model.load_state_dict(run.weights())
    concepts, truth = None, None
    if data.source is not None:
        shown = min(CONCEPT_IMAGES, run["n"]["validation"])
        concepts = concept_arrays(data.source, "validation", shown)
        truth = data.source.composition
    assert isinstance(model, Classifier)
    last = model.maps[-1]  # type: ignore[index]
    return analysis.study(
        model,
        list(batches(data.test)),
        class_names=list(data.class_names),
        concepts=concepts,
        truth=truth,
        below=last.conv2 if isinstance(last, BasicBlock) else None,
        layer_below=last.bn1 if isinstance(last, BasicBlock) else None,
        compared=compared(runs),
        training=curves(runs),
        training_axis="epoch",
        augment=one_pixel,
        **({"picture": outlined(data)} if data.name == "scenes" else {}),  # type: ignore[arg-type]
        name=f"{data.name}, {run['method']}" + OUTLINES * (data.name == "scenes"),
        config=run["config"],
        seed=run["seed"],
    )


def outlined(data: LabelledData) -> Callable[[Tensor], Tensor]:
    """What shows a test image enlarged, with white lines around the shapes that make up its class."""
    numbers = {data.test[n][0].numpy().tobytes(): n for n in range(size_of(data.test))}

    def picture(image: Tensor) -> Tensor:
        large = image.repeat_interleave(ENLARGED, 1).repeat_interleave(ENLARGED, 2)
        n, source = numbers.get(image.numpy().tobytes()), data.source
        if n is None or source is None:
            return large
        own = source.masks("test", [n])[0, source.composition[data.test[n][1]]].float()
        own = own.repeat_interleave(ENLARGED, 1).repeat_interleave(ENLARGED, 2)
        edge = nn.functional.max_pool2d(own, 3, 1, 1).sub(own).amax(0)
        return large.where(edge == 0, 1.0)

    return picture


def compared(runs: Sequence[Stored]) -> list[analysis.Compared]:
    """Each other method's mean over its seeds, its first network cut, and sparse heads on its units."""
    points, fitted = [], []
    for name in dict.fromkeys(run["method"] for run in runs):
        of_method = [run for run in runs if run["method"] == name]
        accuracies = [run["accuracy"] for run in of_method]
        error = statistics.stdev(accuracies) / len(of_method) ** 0.5 if len(of_method) > 1 else None
        weights = statistics.mean(run["weights_per_class"] for run in of_method)
        several = len(of_method) > 1 and name == OURS.name
        # the network that is read is there already, as "this model"
        if name != OURS.name or several:
            called = f"{name}, {len(of_method)} seeds" if several else name
            mean = statistics.mean(accuracies)
            points.append(analysis.Compared(called, weights, mean, len(of_method), error))
        if name != OURS.name:
            curve = of_method[0]["accuracy_at_weights"]
            pairs = zip(curve["weights"], curve["accuracy"], strict=True)
            points += [analysis.Compared(f"{name}, cut", *pair) for pair in pairs]
        fitted += [
            analysis.Compared(
                f"sparse heads on the units of {name}", head["weights"], head["accuracy"]
            )
            for head in of_method[0].record.get("sparse_heads", ())
        ]
    return points + fitted


def curves(runs: Sequence[Stored]) -> dict[str, Curve]:
    """By epoch, the first network of each method, the one that is read before the others."""
    networks: dict[str, dict[str, Curve]] = {}
    for run in runs:
        networks.setdefault(run["method"], measured(run))
    names = sorted(networks, key=lambda name: name != OURS.name)
    return {f"{what}: {n}": networks[n][what] for what in networks[OURS.name] for n in names}


def measured(run: Stored) -> dict[str, Curve]:
    """Accuracy, emptiness of the head, loss, and IoU where the data have concepts."""
    step = run["config"]["recipe"]["epochs"] / run["steps"]
    losses = np.array(run["curves"]["loss"][1])
    window = min(SMOOTHED, len(losses))
    usable = len(losses) - len(losses) % window
    means = losses[:usable].reshape(-1, window).mean(1)
    curves: dict[str, Curve] = {
        "validation accuracy": _at_epochs(run["epochs"], "validation_accuracy"),
        "share of |w| < 0.001": _by_epoch(run["curves"]["sparsity"][1], step),
        "loss": _by_epoch(means.tolist(), window * step),
    }
    iou = _at_epochs(run["epochs"], "mean_iou")
    return curves | ({"mean IoU of units": iou} if iou[0] else {})


def _at_epochs(epochs: Sequence[Mapping[str, Any]], name: str) -> Curve:
    taken = [numbers for numbers in epochs if name in numbers]
    return [numbers["epoch"] for numbers in taken], [numbers[name] for numbers in taken]


def _by_epoch(values: list[float], step: float) -> Curve:
    """A value after each of equal steps, in epochs."""
    return [step * (n + 1) for n in range(len(values))], values


def one_pixel(images: Tensor) -> Tensor:
    """Moved right by a pixel, the edge repeated."""
    return nn.functional.pad(images[..., :-1], (1, 0, 0, 0), mode="replicate")
