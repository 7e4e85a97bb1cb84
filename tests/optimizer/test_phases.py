"""The phases of a layer under every kind of schedule."""

import math

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

from interpretable_sgd import InterpretableAdamW
from interpretable_sgd.optimizer.phases import PHASES, Clock, clock
from tests.optimizer.scheduled_run import UNITS, UNSETTLED, Run, Schedule, heard

# The clock.


@pytest.mark.parametrize(
    ("given", "scheduled", "expected"),
    [
        ((None, None, None), True, (0.8, 0.5, 0.25)),
        ((None, None, None), False, (250, 500, 750)),
        ((None, 100, None), False, (50, 100, 750)),
        ((None, 800, None), False, (250, 800, 1200)),
        ((None, 100, None), True, (50, 100, 0.25)),
        ((None, 0.9, None), True, (0.8, 0.9, 0.25)),
        ((0, None, 40), True, (0, 0.5, 40)),
        ((None, None, math.inf), False, (250, 500, math.inf)),
        ((0, 0, 0), True, (0, 0, 0)),
    ],
)
def test_what_is_not_given_follows_the_schedule(given, scheduled, expected) -> None:
    assert clock(*given, scheduled) == expected


@pytest.mark.parametrize(
    ("brake", "steps", "rate", "peak", "braked"),
    [
        (3, 2, 0.1, 0.1, False),
        (3, 3, 0.1, 0.1, True),
        (0.5, 9, 0.06, 0.1, False),
        (0.5, 9, 0.05, 0.1, True),
        (0.5, 9, 0.0, 0.1, True),
        (0.5, 9, 0.0, 0.0, False),
        (math.inf, 10**9, 0.0, 1.0, False),
    ],
)
def test_the_brake_ends_by_steps_or_by_the_rate(brake, steps, rate, peak, braked) -> None:
    assert Clock(brake, math.inf, math.inf).has_braked(steps, rate, peak) == braked


@pytest.mark.parametrize(
    ("form", "steps", "rate", "braked", "formed"),
    [
        (30, 29, 1.0, 10, False),
        (30, 30, 1.0, 10, True),
        (0.5, 60, 0.51, 30, False),
        (0.5, 60, 0.5, 30, True),
        # A drop through both rates at once: a tenth of the brake is left to forming.
        (0.5, 32, 0.1, 30, False),
        (0.5, 33, 0.1, 30, True),
        (0.5, 1, 0.1, 0, True),
    ],
)
def test_forming_ends_by_steps_or_by_the_rate(form, steps, rate, braked, formed) -> None:
    assert Clock(0, form, math.inf).has_formed(steps, rate, 1.0, braked) == formed


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
        # A drop through both rates at once: a twentieth of the steps before is left to routing.
        ((0.8, 0.5), 41, 0.1, 40, 0.5),
        ((0.8, 0.5), 42, 0.1, 40, 1.0),
        ((10, 0.5), 40, 0.75, 10, 0.5),
        ((0.8, 40), 35, 0.1, 30, 0.5),
    ],
)
def test_progress_of_routing(limits, steps, rate, formed, progress) -> None:
    assert Clock(0, *limits).progress(steps, rate, 1.0, formed) == pytest.approx(progress)


@pytest.mark.parametrize(
    ("settle", "text"),
    [
        (40, "settles at step 40"),
        (0.5, "settles when the rate has fallen to 0.5 of its largest"),
        (math.inf, "never settles by itself"),
    ],
)
def test_a_clock_says_when_it_settles(settle: float, text: str) -> None:
    assert str(Clock(0, 0, settle)) == text


# Runs.


def lasted(run: Run) -> tuple[int | None, int | None, int | None]:
    """Steps taken when forming, routing and the settled phase began; phases never go back."""
    ranks = [PHASES.index(phase) for phase in run.phases]
    assert ranks == sorted(ranks)
    settled = run.began("settle")
    if settled:
        assert max(run.reads[settled - 1 :]) <= 2
    return run.began("form"), run.began("route"), settled


def by_rule(rates: list[float]) -> tuple[int | None, int | None, int | None]:
    """The rule in a loop: .8, .5 and .25 of the peak; at least 1/10 and 1/20 of the steps before."""
    began: dict[str, int] = {}
    peak = progress = 0.0
    for step, rate in enumerate(rates, start=1):
        peak = max(peak, rate)
        share = rate / peak if peak else 1.0
        if "route" in began:
            fallen = min((0.5 - share) / 0.25, (step - began["route"]) / (began["route"] / 20))
            progress = max(progress, fallen)
            if progress >= 1:
                began.setdefault("settle", step)
            continue
        if rate <= 0.8 * peak:
            began.setdefault("form", step)
        if rate <= 0.5 * peak and step - began["form"] >= began["form"] / 10:
            began["route"] = step
    return began.get("form"), began.get("route"), began.get("settle")


def test_the_rule_under_a_cosine() -> None:
    """30 % brake, 20 % forming, 17 % routing."""
    rates = [0.1 * (1 + math.cos(math.pi * t / 1000)) for t in range(1000)]
    assert by_rule(rates) == (297, 501, 668)


SCHEDULES: dict[str, Schedule] = {
    "cosine": lambda o: schedulers.CosineAnnealingLR(o, 100),
    "multi-step": lambda o: schedulers.MultiStepLR(o, [30, 60]),
    "small steps": lambda o: schedulers.StepLR(o, 10, gamma=0.75),
    "linear": lambda o: schedulers.LinearLR(o, 1.0, 1e-9, 100),
    "polynomial": lambda o: schedulers.PolynomialLR(o, 100),
    "exponential": lambda o: schedulers.ExponentialLR(o, 0.97),
    "warm-up, cosine": lambda o: schedulers.SequentialLR(
        o,
        [schedulers.LinearLR(o, 0.01, 1.0, 20), schedulers.CosineAnnealingLR(o, 80)],
        [20],
    ),
    "one cycle": lambda o: schedulers.OneCycleLR(o, 0.3, total_steps=101),
    "warm restarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, 20),
    "cyclic": lambda o: schedulers.CyclicLR(o, 0.02, 0.3, step_size_up=11),
    "plateau": lambda o: schedulers.ReduceLROnPlateau(o, patience=20),
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=list(SCHEDULES))
def test_phases_follow_the_schedule(schedule: Schedule) -> None:
    run = Run(schedule).train(100)
    assert lasted(run) == by_rule(run.rates)


@pytest.mark.parametrize(
    "schedule",
    [
        pytest.param(SCHEDULES["cosine"], id="cosine"),
        pytest.param(SCHEDULES["warm-up, cosine"], id="warm-up, cosine"),
        pytest.param(SCHEDULES["linear"], id="linear"),
        pytest.param(SCHEDULES["multi-step"], id="thirds"),
        pytest.param(SCHEDULES["one cycle"], id="one cycle"),
        pytest.param(lambda o: schedulers.MultiStepLR(o, [50, 75]), id="half, three quarters"),
        pytest.param(lambda o: schedulers.MultiStepLR(o, [80, 90]), id="late drops"),
        pytest.param(lambda o: schedulers.StepLR(o, 85), id="one late drop"),
        pytest.param(
            lambda o: schedulers.LambdaLR(o, lambda t: min(1, (t + 1) / 5, (100 - t) / 20)),
            id="warm-up, stable, decay",
        ),
    ],
)
def test_usual_schedules_settle_before_they_end(schedule: Schedule) -> None:
    assert lasted(Run(schedule).train(100))[2] is not None


def test_adamw_follows_the_same_clock() -> None:
    run = Run(SCHEDULES["cosine"], InterpretableAdamW, lr=1e-2).train(100)
    assert lasted(run) == by_rule(run.rates) and None not in lasted(run)


@pytest.mark.parametrize(
    "schedule", [None, lambda o: schedulers.ReduceLROnPlateau(o, patience=999)]
)
def test_a_constant_rate_is_counted(schedule: Schedule | None) -> None:
    assert lasted(Run(schedule).train(760)) == (250, 500, 750)


@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: schedulers.ConstantLR(o, 1.0, 1),
        lambda o: schedulers.LinearLR(o, 0.1, 1.0, 20),
        lambda o: schedulers.LambdaLR(o, lambda step: 0.9),
    ],
    ids=["constant", "a warm-up alone", "function"],
)
def test_a_schedule_that_never_falls_is_said(schedule: Schedule) -> None:
    """It cannot be told from one that has yet to fall: the layer waits, and the state warns."""
    run = Run(schedule).train(700)
    assert heard(run.optimizer.state_dict) == []
    run.train(100)
    assert lasted(run) == (None, None, None)
    with pytest.warns(UserWarning, match=UNSETTLED):
        run.optimizer.state_dict()


def test_a_rate_set_by_hand_is_a_schedule() -> None:
    run = Run()
    for step in range(100):
        run.optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 100)
        run.step()
    assert lasted(run) == by_rule(run.rates)


def test_a_drop_in_the_midst_of_counted_routing_goes_on_by_the_rate() -> None:
    run = Run().train(600)
    assert run.phases[-1] == "route"
    run.optimizer.param_groups[0]["lr"] = 0.01
    # Routing has had more than a twentieth of 500 steps.
    assert lasted(run.train(10)) == (250, 500, 601)


def test_learning_rate_0_throughout_under_a_schedule_waits() -> None:
    """Nothing has been learned that rows could be cut by."""
    run = Run(lambda o: schedulers.CosineAnnealingLR(o, 30), lr=0.0)
    before = run.layer.weight.detach().clone()
    assert lasted(run.train(40)) == (None, None, None)
    assert torch.equal(run.layer.weight, before)


def test_a_rate_of_0_in_between_is_a_drop_as_any_other() -> None:
    run = Run().train(30)
    run.optimizer.param_groups[0]["lr"] = 0.0
    assert lasted(run.train(60)) == by_rule(run.rates) == (31, 35, 37)


def test_a_wild_schedule_never_goes_back() -> None:
    generator = torch.Generator().manual_seed(0)
    run = Run()
    for rate in torch.rand(200, generator=generator).tolist():
        run.optimizer.param_groups[0]["lr"] = rate
        run.step()
    assert lasted(run) == by_rule(run.rates) and None not in lasted(run)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((2, 5, 20), (2, 5, 20)),
        ((0, 0, 8), (None, 1, 8)),
        ((0, 0, 0), (None, None, 1)),
        ((7, 7, 7), (None, 7, 8)),
        ((0, 5, math.inf), (1, 5, None)),
        ((math.inf, math.inf, math.inf), (None, None, None)),
        ((0, 5, 0.49), (1, 5, 53)),
        ((0, 0.49, 70), (1, 53, 70)),
        ((0.91, 0.81, 0.31), (21, 31, 65)),
    ],
)
def test_explicit_limits(limits: tuple, expected: tuple) -> None:
    options = dict(zip(("brake", "form", "settle"), limits, strict=True))
    run = Run(lambda o: schedulers.CosineAnnealingLR(o, 101), **options)
    assert lasted(run.train(100)) == expected


def test_weights_fade_to_their_support_without_a_jump() -> None:
    """The share of |W| that the cut takes is far less than what it would have taken before routing."""
    run = Run(brake=10, form=20, settle=60).train(20)
    formed = run.layer.weight.detach().abs()
    before = run.train(39).layer.weight.detach().abs()
    run.step()
    kept = run.layer.weight != 0
    assert kept.any(1).all() and kept.sum(1).max() <= 2
    faded, whole = (size[~kept].sum() / size.sum() for size in (before, formed))
    assert faded < whole / 2


# settle().


@pytest.mark.parametrize("steps", [1, 15, 30, 70], ids=["brake", "form", "route", "settle"])
def test_settle_cuts_at_the_next_step(steps: int) -> None:
    """One that brings statistics, if there are none yet."""
    run = Run(brake=10, form=20, settle=60).train(steps)
    run.optimizer.settle()
    assert run.reads[-1] == (2 if steps == 70 else UNITS)
    run.step()
    assert run.phases[-1] == "settle" and run.reads[-1] <= 2
    support = run.layer.weight != 0
    assert lasted(run.train(20))[2] == min(steps + 1, 60)
    assert torch.equal(run.layer.weight != 0, support)


def test_settle_before_the_first_step_is_remembered() -> None:
    """The layer is cut once it has statistics to be cut by."""
    run = Run(brake=10, form=20, settle=60)
    run.optimizer.attach(run.layer)
    run.optimizer.settle()
    assert 1 <= run.train(10).began("settle") <= 3


def test_settle_at_learning_rate_0_keeps_the_largest_contributions() -> None:
    run = Run(brake=10, form=20, settle=60).train(30)
    before = run.layer.weight.detach().clone()
    run.optimizer.param_groups[0]["lr"] = 0.0
    run.optimizer.settle()
    run.step()
    kept = run.layer.weight != 0
    assert kept.any(1).all() and kept.sum(1).max() <= 2
    assert torch.equal(run.layer.weight[kept], before[kept])


@pytest.mark.parametrize("method", ["shared", "algorithm3"])
@pytest.mark.filterwarnings("ignore:Algorithm 3 as printed")
def test_other_methods_have_no_phases(method: str) -> None:
    run = Run(method=method).train(120)
    assert heard(run.optimizer.routed_units) == []
    run.optimizer.settle()
    run.train(1)
    (line,) = repr(run.optimizer).splitlines()[1:2]
    assert line.endswith(f"method '{method}'")
