"""The phases of a layer under every kind of schedule, and what is said of them."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler as schedulers

from interpretable_sgd import InterpretableAdamW, InterpretableSGD
from interpretable_sgd.optimizer.phases import Clock, clock

Schedule = Callable[[torch.optim.Optimizer], Any]
UNITS, CLASSES = 9, 3


# The clock.


@pytest.mark.parametrize(
    ("form", "settle", "scheduled", "expected"),
    [
        (None, None, True, (0.8, 0.5)),
        (None, None, False, (500, 1000)),
        (800, None, False, (800, 1600)),
        (100, None, False, (100, 1000)),
        (100, None, True, (100, 0.5)),
        (0.9, None, True, (0.9, 0.5)),
        (None, 40, True, (0.8, 40)),
        (None, math.inf, False, (500, math.inf)),
        (0, 0, True, (0, 0)),
    ],
)
def test_what_is_not_given_follows_the_schedule(form, settle, scheduled, expected) -> None:
    assert clock(form, settle, scheduled) == expected


@pytest.mark.parametrize(
    ("form", "steps", "rate", "peak", "formed"),
    [
        (3, 2, 0.1, 0.1, False),
        (3, 3, 0.1, 0.1, True),
        (0.5, 9, 0.06, 0.1, False),
        (0.5, 9, 0.05, 0.1, True),
        (0.5, 9, 0.0, 0.1, True),
        (0.5, 9, 0.0, 0.0, False),
    ],
)
def test_forming_ends_by_steps_or_by_the_rate(form, steps, rate, peak, formed) -> None:
    assert Clock(form, math.inf).has_formed(steps, rate, peak) == formed


@pytest.mark.parametrize(
    ("limits", "steps", "rate", "formed", "progress"),
    [
        ((10, 30), 10, 1.0, 10, 0.0),
        ((10, 30), 25, 1.0, 10, 0.75),
        ((10, 30), 99, 1.0, 10, 1.0),
        ((10, 10), 10, 1.0, 10, 1.0),
        ((10, math.inf), 10**9, 1.0, 10, 0.0),
        ((0.8, 0.5), 100, 0.65, 30, 0.5),
        ((0.8, 0.5), 100, 0.9, 30, 0.0),
        ((0.8, 0.5), 100, 0.1, 30, 1.0),
        # A drop through both rates at once: two thirds of forming are left to routing.
        ((0.8, 0.5), 40, 0.1, 30, 0.5),
        ((0.8, 0.5), 50, 0.1, 30, 1.0),
        ((10, 0.5), 40, 0.75, 10, 0.5),
        ((0.8, 40), 35, 0.1, 30, 0.5),
    ],
)
def test_progress_of_routing(limits, steps, rate, formed, progress) -> None:
    assert Clock(*limits).progress(steps, rate, 1.0, formed) == pytest.approx(progress)


@pytest.mark.parametrize(
    ("settle", "text"),
    [
        (40, "settles at step 40"),
        (0.5, "settles when the rate has fallen to 0.5 of its largest"),
        (math.inf, "never settles by itself"),
    ],
)
def test_a_clock_says_when_it_settles(settle: float, text: str) -> None:
    assert str(Clock(0, settle)) == text


# Runs.


class Run:
    """A layer that trains under a schedule, and the phase after each step."""

    def __init__(self, schedule: Schedule | None = None, kind: type = InterpretableSGD, **options):
        torch.manual_seed(0)
        self.layer = nn.Linear(UNITS, CLASSES)
        self.optimizer = kind(self.layer.parameters(), **({"lr": 0.1, "block_size": 2} | options))
        self.schedule = schedule(self.optimizer) if schedule else None
        self.phases: list[str] = []
        self.reads: list[int] = []

    def step(self) -> None:
        self.optimizer.zero_grad()
        x, y = torch.randn(8, UNITS).relu(), torch.randint(CLASSES, (8,))
        loss = cross_entropy(self.layer(x), y)
        loss.backward()
        self.optimizer.step()
        if isinstance(self.schedule, schedulers.ReduceLROnPlateau):
            self.schedule.step(1.0)
        elif self.schedule is not None:
            self.schedule.step()
        self.phases.append(self.optimizer.phase)
        self.reads.append(int((self.layer.weight != 0).sum(1).max()))

    def train(self, steps: int) -> "Run":
        for _ in range(steps):
            self.step()
        return self

    def began(self, phase: str) -> int | None:
        """Steps taken when a phase began."""
        return self.phases.index(phase) + 1 if phase in self.phases else None


def lasted(run: Run) -> tuple[int | None, int | None]:
    """Steps of forming, and steps until the layer has settled; phases never go back."""
    order = ["form", "route", "settle"]
    ranks = [order.index(phase) for phase in run.phases]
    assert ranks == sorted(ranks)
    settled = run.began("settle")
    if settled:
        assert max(run.reads[settled - 1 :]) <= 2
    return run.began("route"), settled


# Of 100 steps. The first rate of at most .8 of the largest ends forming with its own step; no rate here
# is .8 or .5 but for rounding.
SCHEDULES: dict[str, tuple[Schedule, tuple[int | None, int | None]]] = {
    "cosine": (lambda o: schedulers.CosineAnnealingLR(o, 101), (31, 52)),
    "multi-step": (lambda o: schedulers.MultiStepLR(o, [30, 60]), (31, 52)),
    "small steps": (lambda o: schedulers.StepLR(o, 10, gamma=0.85), (21, 51)),
    "linear": (lambda o: schedulers.LinearLR(o, 1.0, 1e-9, 101), (22, 52)),
    "polynomial": (lambda o: schedulers.PolynomialLR(o, 101), (22, 52)),
    "exponential": (lambda o: schedulers.ExponentialLR(o, 0.98), (13, 36)),
    "warm-up, cosine": (
        lambda o: schedulers.SequentialLR(
            o,
            [schedulers.LinearLR(o, 0.01, 1.0, 20), schedulers.CosineAnnealingLR(o, 80)],
            [20],
        ),
        (45, 75),
    ),
    "one cycle": (lambda o: schedulers.OneCycleLR(o, 0.3, total_steps=101), (52, 87)),
    "warm restarts": (lambda o: schedulers.CosineAnnealingWarmRestarts(o, 21), (8, 14)),
    # The first trough comes too soon after forming; routing ends in the second.
    "cyclic": (lambda o: schedulers.CyclicLR(o, 0.1, 0.3, step_size_up=11), (16, 43)),
    "plateau": (lambda o: schedulers.ReduceLROnPlateau(o, patience=20), (23, 39)),
    "constant": (lambda o: schedulers.ConstantLR(o, 1.0, 1), (None, None)),
    "none": (lambda o: None, (None, None)),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_phases_follow_the_schedule(name: str) -> None:
    schedule, expected = SCHEDULES[name]
    assert lasted(Run(schedule).train(100)) == expected


def test_adamw_follows_the_same_clock() -> None:
    schedule, expected = SCHEDULES["cosine"]
    assert lasted(Run(schedule, InterpretableAdamW, lr=1e-2).train(100)) == expected


def test_a_constant_rate_is_counted() -> None:
    assert lasted(Run().train(1010)) == (500, 1000)


def test_a_rate_set_by_hand_is_a_schedule() -> None:
    run = Run()
    for step in range(100):
        run.optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 101)
        run.step()
    assert lasted(run) == (22, 52)


def test_a_drop_in_the_midst_of_counted_routing_goes_on_by_the_rate() -> None:
    run = Run(form=None).train(700)
    assert run.phases[-1] == "route"
    run.optimizer.param_groups[0]["lr"] = 0.01
    # Two thirds of 500 steps of forming.
    assert lasted(run.train(140)) == (500, 834)


def test_learning_rate_0_throughout_under_a_schedule_forms() -> None:
    """Nothing has been learned that rows could be cut by."""
    run = Run(lambda o: schedulers.CosineAnnealingLR(o, 30), lr=0.0)
    before = run.layer.weight.detach().clone()
    assert lasted(run.train(40)) == (None, None)
    assert torch.equal(run.layer.weight, before)


def test_a_rate_of_0_in_between_ends_forming_as_any_other_drop() -> None:
    run = Run().train(30)
    run.optimizer.param_groups[0]["lr"] = 0.0
    assert lasted(run.train(30)) == (31, 52)


@pytest.mark.parametrize(
    ("form", "settle", "expected"),
    [
        (5, 20, (5, 20)),
        (0, 8, (1, 8)),
        (0, 0, (1, 2)),
        (7, 7, (7, 8)),
        (5, math.inf, (5, None)),
        (5, 0.5, (5, 52)),
        (0.5, 70, (52, 70)),
        (0.9, 0.3, (22, 65)),
    ],
)
def test_explicit_limits(form: float, settle: float, expected: tuple) -> None:
    run = Run(lambda o: schedulers.CosineAnnealingLR(o, 101), form=form, settle=settle)
    assert lasted(run.train(100)) == expected


def test_weights_fade_to_their_support_without_a_jump() -> None:
    """The share of |W| that is idle falls to nothing by itself: the cut takes next to nothing."""
    run = Run(form=20, settle=60).train(59)
    before = run.layer.weight.detach().abs()
    run.step()
    kept = run.layer.weight != 0
    assert kept.sum(1).tolist() == [2] * CLASSES
    idle = before[~kept].sum() / before.sum()
    assert idle < 0.2


# settle().


@pytest.mark.parametrize("steps", [1, 30, 70], ids=["form", "route", "settle"])
def test_settle_cuts_at_the_next_step(steps: int) -> None:
    run = Run(form=20, settle=60).train(steps)
    run.optimizer.settle()
    assert run.reads[-1] == (2 if steps == 70 else UNITS)
    run.step()
    assert run.phases[-1] == "settle" and run.reads[-1] <= 2
    support = run.layer.weight != 0
    assert lasted(run.train(20))[1] == min(steps + 1, 60)
    assert torch.equal(run.layer.weight != 0, support)


def test_settle_before_the_first_step_is_remembered() -> None:
    """The layer is cut once it has statistics to be cut by."""
    run = Run(form=20, settle=60)
    run.optimizer.attach(run.layer)
    run.optimizer.settle()
    assert 1 <= run.train(10).began("settle") <= 3


def test_settle_at_learning_rate_0_keeps_the_largest_contributions() -> None:
    run = Run(form=20, settle=60).train(30)
    before = run.layer.weight.detach().clone()
    run.optimizer.param_groups[0]["lr"] = 0.0
    run.optimizer.settle()
    run.step()
    kept = run.layer.weight != 0
    assert kept.sum(1).tolist() == [2] * CLASSES
    assert torch.equal(run.layer.weight[kept], before[kept])


# What is said.


def test_repr_tells_the_phase_and_when_it_ends() -> None:
    run = Run(form=2, settle=4)
    text = repr(run.optimizer)
    assert "routes what `layers` chooses, known after the first backward pass" in text
    lines = []
    for _ in range(4):
        run.step()
        lines.append(repr(run.optimizer).splitlines()[1].strip())
    known = "layer 'Linear', 3 x 9: rows read up to"
    assert lines == [
        f"{known} 9 connections, keep 2, phase 'form', settles at step 4",
        f"{known} 9 connections, keep 2, phase 'route', settles at step 4",
        f"{known} 9 connections, keep 2, phase 'route', settles at step 4",
        f"{known} 2 connections, keep 2, phase 'settle'",
    ]
    assert repr(run.optimizer).startswith("InterpretableSGD (")
    assert "block_size: 2" in repr(run.optimizer)


UNSETTLED = (
    r"layer 'Linear' has not settled: a row reads up to 9 connections, not 2. It settles .*; "
    r"optimizer.settle\(\) cuts at the next step"
)


def heard(read: Callable[[], Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        read()
    return [str(warning.message) for warning in record]


def test_a_state_taken_as_the_rate_has_run_out_warns_once() -> None:
    run = Run(lambda o: schedulers.CosineAnnealingLR(o, 20), form=50, settle=60).train(15)
    assert heard(run.optimizer.state_dict) == []
    run.train(5)
    with pytest.warns(UserWarning, match=UNSETTLED):
        run.optimizer.state_dict()
    assert heard(run.optimizer.state_dict) == []
    assert heard(run.optimizer.routed_units) == []


def test_units_read_late_warn_once() -> None:
    run = Run().train(99)
    assert heard(run.optimizer.routed_units) == []
    run.step()
    with pytest.warns(UserWarning, match=UNSETTLED):
        run.optimizer.routed_units()
    assert heard(run.optimizer.routed_units) == []


def test_settled_runs_warn_of_nothing() -> None:
    run = Run(lambda o: schedulers.CosineAnnealingLR(o, 120)).train(120)
    assert heard(run.optimizer.routed_units) == heard(run.optimizer.state_dict) == []
    (units,) = run.optimizer.routed_units().values()
    assert units.settled and units.block_size == 2 and units.support.sum(1).max() <= 2


def test_few_connections_more_than_are_kept_are_no_reason_to_warn() -> None:
    run = Run(block_size=5, settle=math.inf).train(150)
    assert run.reads[-1] == UNITS
    assert heard(run.optimizer.routed_units) == []


@pytest.mark.parametrize("method", ["shared", "algorithm3"])
@pytest.mark.filterwarnings("ignore:Algorithm 3 as printed")
def test_other_methods_have_no_phases(method: str) -> None:
    run = Run(method=method).train(120)
    assert heard(run.optimizer.routed_units) == []
    run.optimizer.settle()
    run.train(1)
    (line,) = repr(run.optimizer).splitlines()[1:2]
    assert line.endswith(f"method '{method}'")
