"""What an ordinary training loop writes down about its convergence."""

import math
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interpretable_sgd.convergence import diagnosis, plots
from interpretable_sgd.convergence.diagnosis import Fault
from interpretable_sgd.convergence.stretches import drawn_step, stretch_end, widths

Array = NDArray[np.float64]
Number = float | Tensor
PHASES = {"brake": 0.0, "form": 1.0, "route": 2.0, "settle": 3.0}


class Conditions(Protocol):
    """What reads conditions of the theorems, as `convergence.Conditions` does."""

    def read(self) -> Mapping[str, float]:
        """Values by name; none where a reading would cost too much now."""
        ...


class Recorder:
    """Loss, gradient, routing and conditions of a run, read at random steps of stretches.

    Call `step` once per training step, after `backward` and before `optimizer.step`: what is read
    then is of w_0, ..., w_(T-1), the weights that the theorems speak of, and `.grad` is that of the
    step. Between readings it only adds up the loss, without waiting for the device; what is costly
    is passed as a function, called at readings alone.

    Stretches grow with the step, about `per_decade` between T and 10 T, and one step of each is
    drawn to be read. So `average` has the mean over all steps as its expectation where the horizon
    is known; where it is not, the last stretch may end later than the run, and if it has not been
    read yet the reading before it stands for its steps.

    Args:
        optimizer: any of torch's; its learning rate is recorded, and its `routed_units()` and
            `phase` where it has them.
        horizon: T >= 1, the length of the run, if it is known.
        per_decade: >= 1, about how many stretches between T and 10 T.
        readings: >= 1, with a horizon: no stretch is longer than T / readings.
        seed: of the steps that are read.
        conditions: is read too, see `Conditions`.
        callback: called at readings with the step and all its values by name, see `log_to`.

    Attributes:
        steps: taken so far.

    Raises:
        ValueError: an argument out of its range.

    >>> recorder = Recorder(horizon=1000, readings=50)
    >>> for t in range(1000):
    ...     recorder.step(loss=1 / (t + 1), gradient=lambda t=t: (t + 1) ** -0.5)
    >>> exact = sum((t + 1) ** -0.5 for t in range(1000)) / 1000
    >>> len(recorder.series("gradient")[0]), abs(recorder.average("gradient") / exact - 1) < 0.005
    (71, True)
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        horizon: int | None = None,
        per_decade: int = 10,
        readings: int = 64,
        seed: int = 0,
        conditions: Conditions | None = None,
        callback: Callable[[int, Mapping[str, float]], object] | None = None,
    ) -> None:
        for name, value in (
            ("horizon", horizon),
            ("per_decade", per_decade),
            ("readings", readings),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self._optimizer, self._conditions, self._callback = optimizer, conditions, callback
        self._horizon, self._per_decade, self._seed = horizon, per_decade, seed
        self._longest = math.inf if horizon is None else horizon / readings
        self.steps, self._since = 0, 0
        self._sum: Number = 0.0
        self._series: dict[str, list[tuple[int, float, int]]] = {}
        self._supports: dict[str, Tensor] = {}
        self._begin(0)

    def _begin(self, start: int) -> None:
        """Draw the step that is read of the stretch after step `start`."""
        self._end = stretch_end(start, self._per_decade, self._horizon, self._longest)
        self._next = drawn_step(start, self._end, self._seed)

    @property
    def due(self) -> bool:
        """Whether the next call of `step` reads."""
        return self.steps + 1 == self._next

    def step(self, loss: Number, **measures: Callable[[], float] | None) -> None:
        """Count a training step, and read it if it is drawn.

        Args:
            loss: of the step; what is recorded is its mean since the last reading.
            **measures: by the name to record it under, functions of the present weights: `gradient`
                gives |grad F|^2 or an estimate without bias, see `gradient_product`; `accuracy`,
                in [0, 1]; any other.
        """
        due = self.due
        self.steps += 1
        self._since += 1
        self._sum = self._sum + (loss.detach() if isinstance(loss, Tensor) else loss)
        if due:
            self._read(measures)
        if self.steps == self._end:
            self._begin(self._end)

    def _read(self, measures: Mapping[str, Callable[[], float] | None]) -> None:
        values = {"loss": float(self._sum) / self._since}
        self._sum, self._since = 0.0, 0
        values |= {name: float(read()) for name, read in measures.items() if read is not None}
        values |= self._of_optimizer()
        if self._conditions is not None:
            values |= self._conditions.read()
        for name, value in values.items():
            self._series.setdefault(name, []).append((self.steps, value, self._end))
        if self._callback is not None:
            self._callback(self.steps, values)

    def _of_optimizer(self) -> dict[str, float]:
        """Learning rate and routing, as far as the optimizer has them."""
        if self._optimizer is None:
            return {}
        values = {"lr": float(self._optimizer.param_groups[0]["lr"])}
        phase = getattr(self._optimizer, "phase", None)
        if phase in PHASES:
            values["phase"] = PHASES[phase]
        with warnings.catch_warnings():
            # Of rows that are still wide, which is no news while a run is recorded.
            warnings.simplefilter("ignore", UserWarning)
            units: Mapping[str, Any] = getattr(self._optimizer, "routed_units", dict)()
        for name, of in units.items():
            support = of.support
            values[f"support/{name}"] = float(support.sum(1).double().mean())
            for what in ("selected", "settled"):
                if hasattr(of, what):
                    values[f"{what}/{name}"] = float(
                        torch.as_tensor(getattr(of, what)).double().mean()
                    )
            before = self._supports.get(name)
            if before is not None and before.shape == support.shape:
                values[f"churn/{name}"] = float((before != support).double().mean())
            self._supports[name] = support
        return values

    @property
    def names(self) -> list[str]:
        """What has been recorded: "loss", "lr", the measures, the conditions, "phase" (0 brake,
        1 form, 2 route, 3 settle), and for a routed layer "support/NAME", the connections of a unit in its
        support, "churn/NAME", the share of connections that entered or left it since the reading
        before, "settled/NAME", the share of its rows that are settled, and "selected/NAME", the
        share of connections selected at a step so far."""
        return list(self._series)

    def series(self, name: str) -> tuple[Array, Array]:
        """Steps and values of one of `names`.

        Raises:
            KeyError: nothing has been recorded under that name.
        """
        steps, values, _ = self._points(name)
        return steps, values

    def _points(self, name: str) -> tuple[Array, Array, Array]:
        if name not in self._series:
            raise KeyError(f"nothing is recorded as {name!r}, only {', '.join(self._series)}")
        return tuple(np.array(self._series[name], dtype=np.float64).T)  # type: ignore[return-value]

    def average(self, name: str, since: int = 0) -> float:
        """Mean over all steps after `since` up to now, (1 / N) sum_t, estimated from the readings.

        Of "gradient" this is what convergence theorems bound, and `estimate_rate` wants; since the
        step T_0 at which supports are settled, what Theorem H bounds. Of "loss" it is exact from
        step 0 on.

        Raises:
            KeyError: nothing has been recorded under that name.
            ValueError: there is no reading after `since`.
        """
        if name == "loss" and since == 0 and name in self._series:
            steps, values, _ = self._points(name)
            return float((values @ np.diff(steps, prepend=0) + float(self._sum)) / self.steps)
        steps, values, ends = self._points(name)
        later = steps > since
        if not later.any():
            raise ValueError(
                f"{name!r} has no reading after step {since}: the last is at {steps[-1]:.0f}"
            )
        return float(values[later] @ widths(ends[later], since, self.steps) / (self.steps - since))

    @property
    def travel(self) -> float | None:
        """Sum over the steps of eta / (1 - momentum), from the readings.

        None without an optimizer, or where coordinates have step sizes of their own (Adam).
        """
        if self._optimizer is None or "lr" not in self._series:
            return None
        group = self._optimizer.param_groups[0]
        if "betas" in group or "alpha" in group:
            return None
        return self.average("lr") * self.steps / (1 - float(group.get("momentum", 0)))

    def averages(self, name: str) -> tuple[Array, Array]:
        """Steps T, and the mean over steps 1 to T at each of them: `average` as the run went on.

        Raises:
            KeyError: nothing has been recorded under that name.
        """
        steps, values, ends = self._points(name)
        if name == "loss":
            return steps, np.cumsum(values * np.diff(steps, prepend=0)) / steps
        of = widths(ends, 0, self.steps)
        return np.cumsum(of), np.cumsum(values * of) / np.cumsum(of)

    def faults(self) -> list[Fault]:
        """What the recorded conditions say is wrong with the run, see `diagnose`."""
        return diagnosis.diagnose({name: self.series(name)[1] for name in self._series})

    def summary(self) -> str:
        """Loss, mean squared gradient, how often each condition held, and faults, in lines."""
        return diagnosis.summary(self)

    def state_dict(self) -> dict[str, Any]:
        """All that has been recorded, as plain numbers."""
        return {
            "steps": self.steps,
            "since": self._since,
            "sum": float(self._sum),
            "next": self._next,
            "end": self._end,
            "series": {name: [list(point) for point in of] for name, of in self._series.items()},
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state of a recorder that was built alike."""
        self.steps, self._since = state_dict["steps"], state_dict["since"]
        self._sum, self._next = state_dict["sum"], state_dict["next"]
        self._end = state_dict["end"]
        saved = state_dict["series"].items()
        self._series = {name: [(int(t), float(v), int(e)) for t, v, e in of] for name, of in saved}

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Write a log-log plot of loss and measures, points and averages, beside reference slopes.

        A single run shows no rate, only its descent and its floor: see `check_rate`.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: nothing has been recorded.
        """
        if not self._series:
            raise ValueError("nothing is recorded yet: call step(loss) in the training loop")
        plots.plot_run(self, path)
