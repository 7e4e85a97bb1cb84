"""What is wrong with a run, named from the conditions that were recorded of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEP = "the step size is too large"
STARVED = "rows are starved"
DEAD = "units are dead"
FROZEN = "the mask is frozen"
NOISE = "a full batch is noisy"
SCALE = "the gradient's scale is lost"

FEWEST_READINGS = 5


class Fault(NamedTuple):
    """One thing that is wrong with a run.

    Attributes:
        name: what it is; one of `diagnosis.STEP`, `STARVED`, `DEAD`, `FROZEN`, `NOISE`, `SCALE`.
        evidence: the numbers that say so.
    """

    name: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.name}: {self.evidence}"


class Recorded(Protocol):
    """What holds series by name, as `Recorder` does."""

    steps: int

    @property
    def names(self) -> list[str]:
        """Of the series."""
        ...

    def series(self, name: str) -> tuple[Array, Array]:
        """Steps and values."""
        ...

    def average(self, name: str) -> float:
        """Over all steps."""
        ...

    def faults(self) -> list[Fault]:
        """That were found."""
        ...


def diagnose(series: Mapping[str, Sequence[float] | Array]) -> list[Fault]:
    """Faults of a run, from the values of its recorded series by name, see `Conditions`.

    - `STEP`: eta * lambda_max is above 1 at more than a fifth of the readings, or the loss is no
      longer finite.
    - `SCALE`: <step's gradient, grad F> is less than half or more than twice |grad F|^2, in the sum
      by more than three standard errors and in three quarters of the readings. Clipping does this
      too.
    - `NOISE`: with a full batch, the gradients of the step and of F differ in direction: the median
      of the squared sine is above 0.01. Dropout, augmentation and labels drawn anew do this.
    - `DEAD`: more than 5 % of a layer's units, at more than half of the readings and at the last.
    - `STARVED`: a row of a layer has a gradient and has never moved.
    - `FROZEN`: so have more than 5 % of a layer's connections, in rows that move.

    Fewer than 5 readings say nothing.

    >>> [fault.name for fault in diagnose({"eta_lambda_max": [0.5, 2.5, 3.0, 4.0, 2.1]})]
    ['the step size is too large']
    """
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in series.items()}
    rules = (_scale, _step, _noise, _dead, _starved, _frozen)
    return [fault for rule in rules if (fault := rule(arrays)) is not None]


def _enough(series: Mapping[str, Array], name: str) -> Array | None:
    values = series.get(name)
    return values if values is not None and len(values) >= FEWEST_READINGS else None


def _step(series: Mapping[str, Array]) -> Fault | None:
    values, losses = _enough(series, "eta_lambda_max"), _enough(series, "loss")
    if losses is not None and not np.isfinite(losses).all():
        return Fault(STEP, "the loss is no longer finite")
    if values is None:
        return None
    above = int((~(values <= 1)).sum())
    if above <= len(values) / 5:
        return None
    evidence = f"eta * lambda_max is above 1 at {above} of {len(values)} readings"
    return Fault(STEP, f"{evidence}, at most {np.nanmax(values):.3g}")


def _scale(series: Mapping[str, Array]) -> Fault | None:
    products, squares = _enough(series, "scale_product"), series.get("gradient_square")
    if products is None or squares is None or len(products) != len(squares):
        return None
    usable = np.isfinite(products) & np.isfinite(squares) & (squares > 0)
    products, squares = products[usable], squares[usable]
    if len(products) < FEWEST_READINGS:
        return None
    # The sum is sharp, but in a run that explodes one gradient decides it; a quartile holds then.
    scale, ratios = products.sum() / squares.sum(), products / squares
    error = 3 * np.sqrt(((products - scale * squares) ** 2).sum()) / squares.sum()
    lost = scale + error < 0.5 and np.quantile(ratios, 0.75) < 0.5
    grown = scale - error > 2 and np.quantile(np.abs(ratios), 0.25) > 2
    if not (lost or grown):
        return None
    median = float(np.median(ratios))
    return Fault(SCALE, f"the steps' gradients are {median:.3g} times that of F, in the median")


def _noise(series: Mapping[str, Array]) -> Fault | None:
    values = _enough(series, "misdirection")
    if values is None or not np.nanmedian(values) > 0.01:
        return None
    angle = np.degrees(np.arcsin(np.sqrt(np.nanmedian(values))))
    return Fault(NOISE, f"its gradient is {angle:.0f} degrees off that of F, in the median")


def _worst(
    series: Mapping[str, Array], kind: str, share: Callable[[Array], float]
) -> tuple[str, float]:
    """Name and share of the layer that has most of something."""
    found = [
        (name.partition("/")[2], share(values))
        for name, values in series.items()
        if name.startswith(f"{kind}/") and len(values) >= FEWEST_READINGS - 1
    ]
    return max(found, key=lambda pair: pair[1], default=("", 0.0))


def _dead(series: Mapping[str, Array]) -> Fault | None:
    layer, share = _worst(series, "dead_units", lambda v: float(min(v[-1], np.median(v))))
    return Fault(DEAD, f"{share:.0%} of the units of {layer!r}") if share > 0.05 else None


def _starved(series: Mapping[str, Array]) -> Fault | None:
    layer, share = _worst(series, "starved_rows", lambda v: float(v[-1]))
    return Fault(STARVED, f"{share:.0%} of the rows of {layer!r} never moved") if share else None


def _frozen(series: Mapping[str, Array]) -> Fault | None:
    layer, share = _worst(series, "frozen", lambda v: float(v[-1]))
    if share <= 0.05:
        return None
    return Fault(FROZEN, f"{share:.0%} of the connections of {layer!r} never moved")


def held(series: Mapping[str, Sequence[float] | Array]) -> dict[str, tuple[int, int]]:
    """How often each condition held: (readings at which it did, readings), by its statement.

    >>> held({"eta_lambda_max": [0.5, 1.5, 0.9]})
    {'eta * lambda_max <= 1': (2, 3)}
    """
    found: dict[str, tuple[int, int]] = {}
    for kind, statement, limit in (
        ("eta_lambda_max", "eta * lambda_max <= 1", 1.0),
        ("misdirection", "the full batch's gradient is that of F", 0.01),
        ("dead_units", "at most 5 % of the units of {} are dead", 0.05),
        ("starved_rows", "every row of {} moves", 0.0),
        ("frozen", "at most 5 % of the connections of {} rest", 0.05),
        ("bias", "the bias ratio of {} is below 1", 1.0),
    ):
        for name, values in series.items():
            if name == kind or name.startswith(f"{kind}/"):
                good = int((np.asarray(values) <= limit).sum())
                found[statement.format(name.partition("/")[2])] = good, len(values)
    return found


def summary(recorded: Recorded) -> str:
    """Loss, mean squared gradient, how often each condition held, and faults, in lines."""
    names = recorded.names
    if not names:
        return "nothing is recorded yet"
    series = {name: recorded.series(name)[1] for name in names}
    lines = [f"{recorded.steps} steps, {len(series['loss'])} readings"]
    lines.append(f"loss {series['loss'][0]:.4g} -> {series['loss'][-1]:.4g}")
    for name in ("gradient", "noise"):
        if name in series:
            lines.append(f"mean {name} {recorded.average(name):.4g}")
    for name in names:
        if name.startswith(("support/", "settled/", "churn/")):
            kind, _, layer = name.partition("/")
            lines.append(f"{kind} of {layer!r} {series[name][0]:.3g} -> {series[name][-1]:.3g}")
    for statement, (good, of) in held(series).items():
        lines.append(f"{statement}: held at {good} of {of} recorded steps")
    lines += [f"fault: {fault}" for fault in recorded.faults()]
    return "\n".join(lines)
