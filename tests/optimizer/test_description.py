"""What optimizers say of their layers: in `repr`, and of runs that end before they have settled."""

import math

import pytest
from torch.optim import lr_scheduler as schedulers

from tests.optimizer.scheduled_run import UNITS, UNSETTLED, Run, heard


def test_repr_tells_the_phase_and_when_it_ends() -> None:
    run = Run(brake=1, form=2, settle=4)
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
        f"{known} 5 connections, keep 2, phase 'route', settles at step 4",
        f"{known} 2 connections, keep 2, phase 'settle'",
    ]
    assert repr(run.optimizer).startswith("InterpretableSGD (")
    assert "block_size: 2" in repr(run.optimizer)


def test_a_state_taken_as_the_rate_has_run_out_warns_once() -> None:
    run = Run(lambda o: schedulers.CosineAnnealingLR(o, 20), brake=40, form=50, settle=60).train(15)
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
