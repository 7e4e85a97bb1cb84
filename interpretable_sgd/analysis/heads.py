"""The layer that makes the logits, and the terms that a logit is the sum of.

Index legend: `n` image, `m` unit (input of the head), `c` class, `h`, `w` position.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import linear

from interpretable_sgd.layers.dynamic import DynamicConv2d, DynamicLinear
from interpretable_sgd.layers.top_k import select

Layer = nn.Linear | nn.Conv2d
TOLERANCE = {torch.float16: 2e-2, torch.bfloat16: 2e-2, torch.float64: 1e-9}
TOLERANCE_FLOAT32 = 2e-3  # matrix products may run in TF32


class Terms(NamedTuple):
    """A logit in terms: parts.sum(1) + biases.

    Attributes:
        parts: what each unit adds, (n, M).
        biases: what the bias adds, (n,).
    """

    parts: Tensor
    biases: Tensor


@dataclass(frozen=True)
class Head:
    r"""The last layer of a classifier, as sums of terms.

    .. math:: z_{nc} = b_{nc} + \sum_m P_{ncm}

    A dense head sums all terms P_ncm = W_cm x_nm. A routed one sums those that it keeps, the others
    are 0. A 1x1 convolution does so at every position and is followed by the mean over positions:
    P is a mean, too. If a ReLU stands before that mean, as in SqueezeNet, a position that it closes
    adds nothing, and b depends on the image.

    A head of one output z decides between two classes: z is the logit of class 1, and class 0 has
    -z, so that the sums of both are exact; sigmoid of either is its probability.

    Attributes:
        layer: the module itself.
        name: dotted, in its model; "" if it is the whole model.
        rectified: a ReLU comes before the mean over positions.

    >>> layer = nn.Linear(3, 2)
    >>> head = Head(layer, "fc")
    >>> units, classes = torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
    >>> parts, biases = head.terms(units, classes)
    >>> logits = layer(units).gather(1, classes[:, None])[:, 0]
    >>> torch.allclose(parts.sum(1) + biases, logits)
    True
    """

    layer: Layer
    name: str
    rectified: bool = False

    @property
    def kind(self) -> str:
        """One of "linear", "routed linear", "convolution" and "routed convolution"."""
        shape = "convolution" if isinstance(self.layer, nn.Conv2d) else "linear"
        return f"routed {shape}" if self.is_routed else shape

    @property
    def is_routed(self) -> bool:
        """Whether a logit sums the terms of a few units only."""
        return isinstance(self.layer, DynamicLinear | DynamicConv2d)

    @property
    def is_additive(self) -> bool:
        """Whether the terms of an image depend on its mean activations alone."""
        return not (self.is_routed or self.rectified)

    @property
    def outputs(self) -> int:
        """Logits that the layer puts out: C, or 1 for two classes."""
        return len(self.layer.weight)

    @property
    def is_binary(self) -> bool:
        """Whether one output decides between two classes."""
        return self.outputs == 1

    @property
    def weight(self) -> Tensor:
        """W, (C, M)."""
        return self._of_classes(self.layer.weight.detach().flatten(1))

    @property
    def bias(self) -> Tensor:
        """b, (C,); zeros if the layer has none."""
        return self._of_classes(self._bias)

    @property
    def _bias(self) -> Tensor:
        bias = self.layer.bias
        return self.layer.weight.new_zeros(self.outputs) if bias is None else bias.detach()

    def _of_classes(self, rows: Tensor) -> Tensor:
        """Rows of outputs as rows of classes."""
        return torch.cat([-rows, rows]) if self.is_binary else rows

    def _outputs_of(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Output that decides on each class, and the sign it has there, (n,) each."""
        if self.is_binary:
            return torch.zeros_like(classes), 2 * classes - 1
        return classes, torch.ones_like(classes)

    def read(self, input: Tensor) -> Tensor:
        """What the terms are made of, from an input of the layer: a copy that nobody overwrites.

        Args:
            input: (n, M), or (n, M, h, w) for a convolution.

        Returns:
            (n, M); (n, M, h', w') where terms are not a function of the mean over positions.

        Raises:
            ValueError: the input has another shape.
        """
        expected = 4 if isinstance(self.layer, nn.Conv2d) else 2
        if input.dim() != expected:
            shape = "(n, m, h, w)" if expected == 4 else "(n, m)"
            raise ValueError(
                f"head {self.name!r} must read {shape}, got an input of {tuple(input.shape)}"
            )
        if isinstance(self.layer, nn.Conv2d):
            # a 1x1 convolution with a stride reads every so many positions
            down, right = self.layer.stride
            input = input[..., ::down, ::right]
            if self.is_additive:
                # mean of W x = W times the mean of x: positions are not needed
                return input.detach().mean((2, 3))
        return input.detach().clone()

    def pool(self, output: Tensor) -> Tensor:
        """Logits of all classes from an output of the layer, (n, C)."""
        if output.dim() == 2:
            logits = output.detach().clone()
        else:
            logits = (output.detach().relu() if self.rectified else output.detach()).mean((2, 3))
        return torch.cat([-logits, logits], 1) if self.is_binary else logits

    def activations(self, units: Tensor) -> Tensor:
        """One number per unit, the mean over positions, (n, M)."""
        return units if units.dim() == 2 else units.mean((2, 3))

    def products(self, units: Tensor, classes: Tensor) -> Tensor:
        """W_cm x_nm of one class per image, whether kept or not, (n, M).

        Args:
            units: as `read` returns them.
            classes: one per image, (n,).
        """
        rows, signs = self._outputs_of(classes)
        return self._products(units, rows).mean(2) * signs[:, None]

    def terms(self, units: Tensor, classes: Tensor) -> Terms:
        """What units and bias add to the logit of one class per image.

        Args:
            units: as `read` returns them, or with some set to 0.
            classes: one per image, (n,).
        """
        rows, signs = self._outputs_of(classes)
        parts, biases = self._products(units, rows), widened(self._bias)[rows]
        if isinstance(self.layer, DynamicLinear | DynamicConv2d):
            parts = parts * _kept(parts, self.layer)
        if self.rectified:
            # A logit of no terms but a positive bias is open, too.
            is_open = parts.sum(1) + biases[:, None] > 0
            parts, biases = parts * is_open[:, None], biases * is_open.to(biases).mean(1)
        return Terms(parts.mean(2) * signs[:, None], biases * signs)

    def parts(self, units: Tensor, classes: Tensor) -> Tensor:
        """P_ncm of one class per image, (n, M); see `terms`."""
        return self.terms(units, classes).parts

    def logits(self, units: Tensor, weight: Tensor | None = None) -> Tensor:
        """z of all classes by the layer's own forward, (n, C).

        Args:
            units: as `read` returns them, or with some set to 0.
            weight: in place of the layer's own, (C, M).
        """
        if weight is not None and self.is_binary:
            weight = weight[1:]
        if self.is_additive and (weight is not None or isinstance(self.layer, nn.Conv2d)):
            own = self.layer.weight.detach().flatten(1) if weight is None else weight
            return self.pool(linear(units, own, self._bias))
        if isinstance(self.layer, nn.Linear):
            return self.pool(self._forward(units, weight))
        # As images of one position each: `read` has taken the stride already.
        rows = units.flatten(2).movedim(1, 2).flatten(0, 1)[:, :, None, None]
        output = self._forward(rows, weight)[:, :, 0, 0].unflatten(0, (len(units), -1))
        return self.pool(output.movedim(2, 1)[..., None])

    def probabilities(self, logits: Tensor, multilabel: bool = False) -> Tensor:
        """Softmax of the logits, (n, C); sigmoid of each where classes do not exclude one another."""
        return logits.sigmoid() if multilabel or self.is_binary else logits.softmax(1)

    def explains(self, output: Tensor, logits: Tensor) -> bool:
        """Whether a model's output is the logits, or their softmax, log-softmax or sigmoid.

        Args:
            output: of the model.
            logits: as `pool` gives them, (n, C).
        """
        own = logits[:, 1:] if self.is_binary else logits
        if output.shape != own.shape and not (self.is_binary and output.shape == own.shape[:1]):
            return False
        output = output.detach().reshape(own.shape)
        expected = [own, own.sigmoid()]
        if not self.is_binary:  # one output has a constant softmax
            expected += [own.log_softmax(1), own.softmax(1)]
        within = tolerance(logits.dtype)
        return any(bool((output - z).abs().max() <= within * z.abs().max()) for z in expected)

    def _forward(self, input: Tensor, weight: Tensor | None) -> Tensor:
        if weight is None:
            return self.layer.forward(input).detach()
        own = {"weight": weight.view_as(self.layer.weight)}
        return functional_call(self.layer, own, (input,)).detach()

    def _products(self, units: Tensor, rows: Tensor) -> Tensor:
        """W_cm x_nm of some outputs at every position, (n, M, positions)."""
        positions = units.flatten(2) if units.dim() == 4 else units[..., None]
        weight = self.layer.weight.detach().flatten(1)
        return widened(weight)[rows][..., None] * widened(positions)


def _kept(products: Tensor, layer: DynamicLinear | DynamicConv2d) -> Tensor:
    """1 for the products that a routed layer sums, (n, M, positions)."""
    # the layer's own selection, so that ties fall as in its forward
    rows = products.movedim(1, -1)
    units = select(rows, layer.k, at_most=layer.selection == "at_most_k")
    width = rows.shape[-1]
    # Empty slots, -1, fall into a column of their own.
    kept = rows.new_zeros(*rows.shape[:-1], width + 1)
    return kept.scatter_(-1, units % (width + 1), 1.0)[..., :width].movedim(-1, 1)


def widened(tensor: Tensor) -> Tensor:
    """In float32 at least."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def tolerance(dtype: torch.dtype) -> float:
    """Relative rounding error that two ways to sum the same terms may differ by."""
    return TOLERANCE.get(dtype, TOLERANCE_FLOAT32)
