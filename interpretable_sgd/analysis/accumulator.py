"""Running sums of one pass over a data set, in memory of images * keep + classes * units.

Index legend: `n` image, `m` unit, `c` class.
"""

from typing import Any

import torch
from torch import Tensor

from interpretable_sgd.analysis.batches import class_pairs
from interpretable_sgd.analysis.checkpoints import StaleCheckpointError
from interpretable_sgd.analysis.contributions import residuals, shares, top_units, units_to_reach
from interpretable_sgd.analysis.forward import Batch
from interpretable_sgd.analysis.heads import Head, tolerance, widened
from interpretable_sgd.analysis.interpretability_metrics import dependence

LEVELS = (0.95, 0.98)


class DecisionAccumulator:
    """Running sums over classes, and rows of images; all on the CPU.

    Args:
        head: makes the logits.
        keep: contributions kept of each decision.
        sample: images whose units are kept.

    Attributes:
        images: taken in.
        is_whole: false if `add` was cut off, so that the sums disagree.
    """

    def __init__(self, head: Head, keep: int, sample: int) -> None:
        self._head, self._sample = head, sample
        classes, width = head.weight.shape
        self._keep = min(keep, width)
        double = torch.float64
        self._sums = {
            "counts": torch.zeros(classes, dtype=torch.int64),
            "outcomes": torch.zeros(classes, 2, 2, dtype=torch.int64),
            "mean_parts": torch.zeros(classes, width, dtype=double),
            "class_means": torch.zeros(classes, width, dtype=double),
            "minimum": torch.full((width,), torch.inf, dtype=double),
            "mean_units": torch.zeros(width, dtype=double),
            "activity": torch.zeros(width, dtype=double),
            "mass": torch.zeros(width, dtype=double),
        }
        # rows of images, with room for more behind them
        self._buffers: dict[str, Tensor] = {}
        self._keys = torch.empty(0, dtype=torch.int64)
        self._drawn = torch.empty(0, dtype=torch.int64)
        self._drawn_units = torch.empty(0, width)
        self.images = 0
        self.is_whole = True

    def add(self, batch: Batch) -> None:
        """Take in a batch.

        Raises:
            ValueError: contributions and bias do not add up to the logit.
        """
        self.is_whole = False
        head = self._head
        classes = batch.logits.topk(2, dim=1).indices
        sides = [self._side(batch, classes[:, side]) for side in (0, 1)]
        rows = {name: torch.stack([side[name] for side in sides], 1) for name in sides[0]}
        multilabel = batch.labels.dim() == 2
        rows |= {"labels": batch.labels, "classes": classes, "hashes": batch.hashes}
        every = head.probabilities(widened(batch.logits), multilabel)
        rows["probabilities"] = every.gather(1, classes)
        # Faithful shares are of what the head sums, the paper's of all products W x.
        terms = head.terms(batch.units, classes[:, 0])
        products = head.products(batch.units, classes[:, 0])
        faithful = shares(terms.parts, terms.biases)
        rows |= {
            "residual faithful": residuals(faithful, self._keep),
            "residual signed": residuals(shares(products, None, "signed"), self._keep),
            "residual absolute": residuals(shares(products, None, "absolute"), self._keep),
        }
        rows |= {f"reach {level}": units_to_reach(faithful, level) for level in LEVELS}
        rows["dependence"] = dependence(terms.parts)
        for name, values in rows.items():
            self._append(name, values.cpu())
        self._add_sums(batch, terms.parts)
        self.images += len(batch.labels)
        self.is_whole = True

    def verify(self, labels: Tensor, hashes: Tensor, start: int) -> None:
        """Raise StaleCheckpointError unless images from `start` on have had these labels and contents."""
        rows = slice(start, start + len(labels))
        for what, given in (("labels", labels), ("hashes", hashes)):
            if not torch.equal(self._buffers[what][rows], given.cpu()):
                other = "labels" if what == "labels" else "contents (files or preprocessing)"
                raise StaleCheckpointError(
                    f"checkpoint is of another data set, or another order: the {other} of images "
                    f"{start} .. {start + len(labels) - 1} differ"
                )

    def verify_logits(self, logits: Tensor) -> None:
        """Raise StaleCheckpointError unless the first images have had these logits, (n, c).

        A model that computes something else with the same weights would go on otherwise.
        """
        # a tie may rank two classes otherwise, and its values are the same
        largest = widened(logits).topk(2, dim=1).values.cpu()
        before = self._buffers["logits"][: len(logits)]
        room = 10 * tolerance(logits.dtype) * before.abs().max()
        if not ((largest - before).abs() <= room).all():
            raise StaleCheckpointError(
                "checkpoint is of other images, or of a model that decides otherwise with the same "
                f"weights: the logits of images 0 .. {len(logits) - 1} differ"
            )

    def _side(self, batch: Batch, classes: Tensor) -> dict[str, Tensor]:
        """The largest contributions to one class per image."""
        parts, biases = self._head.terms(batch.units, classes)
        logits = batch.logits.gather(1, classes[:, None])[:, 0]
        gap = (parts.sum(1) + biases - logits).abs()
        size = parts.abs().sum(1) + biases.abs()
        if (gap > tolerance(batch.logits.dtype) * size).any():
            raise ValueError(
                f"contributions and bias of head {self._head.name!r} must add up to the logit, "
                f"they miss it by {float(gap.max()):.3g}: its forward is not that of its class"
            )
        units = top_units(parts, self._keep)
        largest = parts.gather(1, units.clamp(min=0)).masked_fill(units < 0, 0)
        return {
            "logits": widened(logits),
            "biases": biases,
            "units": units,
            "contributions": largest,
        }

    def _append(self, name: str, values: Tensor) -> None:
        """Put rows behind those of the images so far; many small tensors would fragment memory."""
        end, buffer = self.images + len(values), self._buffers.get(name, values[:0])
        if end > len(buffer):
            grown = values.new_empty(2 * end, *values.shape[1:])
            grown[: self.images] = buffer[: self.images]
            self._buffers[name] = buffer = grown
        buffer[self.images : end] = values

    def _rows(self) -> dict[str, Tensor]:
        return {name: buffer[: self.images] for name, buffer in self._buffers.items()}

    def _add_sums(self, batch: Batch, parts: Tensor) -> None:
        # means are to an image's true classes, not to the predicted one: errors must not shape them
        image, label = class_pairs(batch.labels)
        own = self._head.parts(batch.units[image], label).cpu().double()
        image, label = image.cpu(), label.cpu()
        exact = widened(self._head.activations(batch.units)).cpu()
        units, sizes = exact.double(), parts.abs().cpu().double()
        self._sums["counts"] += torch.bincount(label, minlength=len(self._sums["counts"]))
        self._sums["mean_parts"].index_add_(0, label, own)
        self._sums["class_means"].index_add_(0, label, units[image])
        self._sums["outcomes"] += outcomes(batch.labels, batch.logits).cpu()
        self._sums["minimum"] = torch.minimum(self._sums["minimum"], units.min(0).values)
        self._sums["mean_units"] += units.sum(0)
        self._sums["activity"] += (units > 0).sum(0)
        # each image counts alike, however large its logits
        totals = sizes.sum(1, keepdim=True)
        self._sums["mass"] += (sizes / torch.where(totals > 0, totals, 1)).sum(0)
        self._draw(exact)

    def _draw(self, units: Tensor) -> None:
        """Keep the images of the smallest keys: a uniform draw, the same for every model."""
        numbers = torch.arange(self.images, self.images + len(units))
        keys = scramble(numbers)
        keys, numbers = torch.cat([self._keys, keys]), torch.cat([self._drawn, numbers])
        # the smallest keys of all images so far: a sample of fixed size without knowing their number
        chosen = keys.argsort()[: self._sample].sort().values
        if len(chosen) and int(chosen[-1]) >= len(self._drawn):
            self._drawn_units = torch.cat([self._drawn_units.to(units.dtype), units])[chosen]
        self._keys, self._drawn = keys[chosen], numbers[chosen]

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the pass depends on."""
        return {
            "images": self.images,
            "sums": self._sums,
            "rows": {name: rows.clone() for name, rows in self._rows().items()},
            "keys": self._keys,
            "drawn": self._drawn,
            "drawn_units": self._drawn_units,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.images = state["images"]
        self._sums = state["sums"]
        self._buffers = state["rows"]
        self._keys, self._drawn = state["keys"], state["drawn"]
        self._drawn_units = state["drawn_units"]

    def fields(self) -> dict[str, Any]:
        """The fields of `Decisions`, without those of the head.

        Raises:
            ValueError: there were no images.
        """
        if not self.images:
            raise ValueError("loader must give at least one image, got none")
        rows = {name: values.clone() for name, values in self._rows().items()}
        counts = self._sums["counts"]
        by_class = torch.where(counts > 0, counts.double(), torch.nan)[:, None]
        by_class_means = {
            name: (self._sums[name] / by_class).float() for name in ("mean_parts", "class_means")
        }
        means = {
            name: (self._sums[name] / self.images).float()
            for name in ("mean_units", "activity", "mass")
        }
        return {
            **{name: rows[name] for name in ("labels", "logits", "biases", "units", "hashes")},
            "probabilities": rows["probabilities"],
            "outcomes": self._sums["outcomes"],
            "contributions": rows["contributions"],
            "dependence": rows["dependence"],
            "predicted": rows["classes"][:, 0],
            "runner_up": rows["classes"][:, 1],
            "residuals": {
                name.partition(" ")[2]: values
                for name, values in rows.items()
                if name.startswith("residual ")
            },
            "reach": {level: rows[f"reach {level}"] for level in LEVELS},
            "counts": counts,
            **by_class_means,
            **means,
            "minimum": self._sums["minimum"].float(),
            "sample": self._drawn,
            "sample_units": self._drawn_units,
        }


def decided(logits: Tensor, multilabel: bool) -> Tensor:
    """Which classes an image is given, (n, C), bool: the largest logit, or each above 0."""
    if multilabel:
        return logits > 0
    return torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).bool()


def outcomes(labels: Tensor, logits: Tensor) -> Tensor:
    """Images by class, by whether they have it, and by whether they are given it, (C, 2, 2), int64.

    Args:
        labels: classes, (n,), or sets of them, (n, C), bool.
        logits: (n, C).

    >>> outcomes(torch.tensor([0, 1]), torch.tensor([[2.0, 1.0], [2.0, 1.0]])).tolist()
    [[[0, 1], [0, 1]], [[1, 0], [1, 0]]]
    """
    multilabel = labels.dim() == 2
    has = labels if multilabel else torch.nn.functional.one_hot(labels, logits.shape[1]).bool()
    given = decided(logits, multilabel)
    cells = [[(has == h) & (given == g) for g in (False, True)] for h in (False, True)]
    return torch.stack([torch.stack([cell.sum(0) for cell in row], 1) for row in cells], 1)


def scramble(numbers: Tensor) -> Tensor:
    """A fixed key of each number, as if drawn: the finaliser of SplitMix64 without its sign bit.

    Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.

    >>> keys = scramble(torch.arange(1000))
    >>> len(keys.unique()), bool((keys >= 0).all())
    (1000, True)
    """

    def shifted(values: Tensor, bits: int) -> Tensor:
        # Tensors shift arithmetically: clear what the sign has filled.
        return (values >> bits) & ((1 << (64 - bits)) - 1)

    z = (numbers + 1) * -7046029254386353131
    z = (z ^ shifted(z, 30)) * -4658895280553007687
    z = (z ^ shifted(z, 27)) * -7723592293110705685
    return (z ^ shifted(z, 31)) & (2**63 - 1)
