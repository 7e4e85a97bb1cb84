"""What an ordinary training loop writes down about its convergence, and a plot of it."""

import copy
import itertools
import math
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float64]
Number = float | Tensor
Loss = Callable[[nn.Module], Tensor]

REFERENCES = ((-0.5, ":", "slope -1/2"), (-1.0, "--", "slope -1"))


def gradient_product(model: nn.Module, first: Loss, second: Loss | None = None) -> float:
    r"""<grad f_1, grad f_2>, an unbiased estimate of |grad F|^2 from two disjoint half batches.

    The squared norm of one batch's gradient is |grad F|^2 plus the variance, so it stays up when
    F has converged; the product of two independent gradients has no such term. It may be negative.

    Gradients are of a copy in evaluation mode: `.grad`, batch statistics and the optimizer's own
    statistics are left alone, and per-sample masks do not touch them.

    Args:
        model: f_1 and f_2 are functions of a model like this.
        first: the loss on one half batch, or on all data.
        second: the loss on the other half; None for |grad f_1|^2, right if f_1 is on all data.

    >>> model = torch.nn.Linear(1, 1, bias=False).requires_grad_()
    >>> round(gradient_product(model, lambda m: 3 * m.weight.sum()), 3)
    9.0
    """
    plain = copy.deepcopy(model).eval()
    parameters = [p for p in plain.parameters() if p.requires_grad]

    def gradient(loss: Loss) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            return torch.autograd.grad(
                loss(plain), parameters, allow_unused=True, materialize_grads=True
            )

    one = gradient(first)
    two = one if second is None else gradient(second)
    products = [(a.double() * b.double()).sum() for a, b in zip(one, two, strict=True)]
    return float(torch.stack(products).sum())


class Routing(Protocol):
    """What reads back the routing of its layers, as `InterpretableSGD` does."""

    def routed_units(self) -> Mapping[str, Any]:
        """Routed units by layer."""
        ...


class Recorder:
    """Loss, gradient norm, accuracy and selected shares of a run, at log-spaced steps.

    Call `step` once per training step. Between the chosen steps it only adds up the loss, without
    waiting for the device; what is costly is passed as a function, called at chosen steps alone.

    Args:
        optimizer: its `routed_units()` are recorded too.
        per_decade: >= 1, about how many steps to choose between T and 10 T.

    Attributes:
        steps: taken so far.

    Raises:
        ValueError: `per_decade` is below 1.

    >>> recorder = Recorder(per_decade=4)
    >>> for t in range(100):
    ...     recorder.step(loss=1 / (t + 1), gradient=lambda: 2.0)
    >>> recorder.series("loss")[0].astype(int).tolist()
    [1, 2, 3, 6, 10, 18, 32, 56, 100]
    """

    def __init__(self, optimizer: Routing | None = None, *, per_decade: int = 10) -> None:
        if per_decade < 1:
            raise ValueError(f"per_decade must be at least 1, got {per_decade}")
        self._optimizer, self._per_decade = optimizer, per_decade
        self.steps, self._since = 0, 0
        self._sum: Number = 0.0
        self._next = 1
        self._series: dict[str, list[tuple[int, float]]] = {}

    @property
    def due(self) -> bool:
        """Whether the next call of `step` records."""
        return self.steps + 1 >= self._next

    def step(
        self,
        loss: Number,
        *,
        gradient: Callable[[], float] | None = None,
        accuracy: Callable[[], float] | None = None,
    ) -> None:
        """Count a training step, and record it if it is chosen.

        Args:
            loss: of the step; what is recorded is its mean since the last chosen step.
            gradient: gives |grad F|^2 or an estimate without bias, see `gradient_product`.
            accuracy: gives the accuracy in [0, 1].
        """
        chosen = self.due
        self.steps += 1
        self._since += 1
        self._sum = self._sum + (loss.detach() if isinstance(loss, Tensor) else loss)
        if not chosen:
            return
        self._add("loss", float(self._sum) / self._since)
        self._sum, self._since = 0.0, 0
        if gradient is not None:
            self._add("gradient", float(gradient()))
        if accuracy is not None:
            self._add("accuracy", float(accuracy()))
        if self._optimizer is not None:
            self._add_units(self._optimizer)
        self._next = self._after(self.steps)

    def _after(self, step: int) -> int:
        """The first of the steps 10^(k / per_decade), rounded, that is later."""
        first = int(self._per_decade * math.log10(step))
        powers = (round(10 ** (k / self._per_decade)) for k in itertools.count(first))
        return next(later for later in powers if later > step)

    def _add(self, name: str, value: float) -> None:
        self._series.setdefault(name, []).append((self.steps, value))

    def _add_units(self, optimizer: Routing) -> None:
        for name, units in optimizer.routed_units().items():
            self._add(f"selected/{name}", float(units.selected.mean()))
            self._add(f"support/{name}", float(units.support.sum(1).double().mean()))

    @property
    def names(self) -> list[str]:
        """What has been recorded: "loss", "gradient", "accuracy", and for a routed layer
        "selected/NAME", the share of connections selected at a step so far, and "support/NAME",
        the connections of a unit that are not empty."""
        return list(self._series)

    def series(self, name: str) -> tuple[Array, Array]:
        """Steps and values of one of `names`.

        Raises:
            KeyError: nothing has been recorded under that name.
        """
        if name not in self._series:
            raise KeyError(f"nothing is recorded as {name!r}, only {', '.join(self._series)}")
        steps, values = zip(*self._series[name], strict=True)
        return np.array(steps, dtype=np.float64), np.array(values, dtype=np.float64)

    def average(self, name: str) -> float:
        """Mean over all steps so far, from the chosen ones: (1 / T) sum_t, by the trapezoidal rule.

        Of "gradient" this is what convergence theorems bound, and `estimate_rate` wants.
        """
        steps, values = self.series(name)
        widths = np.diff(steps)
        area = (widths * (values[1:] + values[:-1]) / 2).sum()
        return float((values[0] * steps[0] + area) / steps[-1])

    def state_dict(self) -> dict[str, Any]:
        """All that has been recorded, as plain numbers."""
        return {
            "steps": self.steps,
            "since": self._since,
            "sum": float(self._sum),
            "next": self._next,
            "series": {name: [list(point) for point in of] for name, of in self._series.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state."""
        self.steps, self._since = state_dict["steps"], state_dict["since"]
        self._sum, self._next = state_dict["sum"], state_dict["next"]
        saved = state_dict["series"].items()
        self._series = {name: [(int(t), float(v)) for t, v in of] for name, of in saved}

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Write a log-log plot of loss and gradient, with slopes -1/2 and -1 to compare with.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: nothing has been recorded.
        """
        if not self._series:
            raise ValueError("nothing is recorded yet: call step(loss) in the training loop")
        from matplotlib.figure import Figure

        shown = [name for name in ("loss", "gradient") if name in self._series]
        figure = Figure(figsize=(4.5 * len(shown), 3.5), layout="constrained")
        titles = {"loss": "loss", "gradient": "squared gradient norm"}
        for axes, name in zip(np.ravel(figure.subplots(1, len(shown))), shown, strict=True):
            steps, values = self.series(name)
            # Products of half batches may be negative, which a logarithm does not show.
            axes.loglog(steps, np.where(values > 0, values, np.nan), marker=".")
            visible = steps[values > 0], values[values > 0]
            if len(visible[0]):
                for slope, style, label in REFERENCES:
                    line = visible[1][0] * (visible[0] / visible[0][0]) ** slope
                    axes.loglog(visible[0], line, style, color="0.6", label=label)
            axes.set(xlabel="step", title=titles[name])
            axes.legend(frameon=False)
        figure.savefig(path)
