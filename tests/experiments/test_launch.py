"""Runs side by side: each is trained once, one that fails does not stop the others, Ctrl-C stops all."""

import multiprocessing
import os
import signal
import threading

import pytest

from experiments import launch, store
from experiments.methods import DENSE, dynamic
from experiments.run import Environment, Protocol
from tests.experiments.conftest import planned

FEW = Protocol()


def plan(*methods, epochs=1):
    return [planned(method, protocol=FEW, epochs=epochs) for method in methods]


def test_one_after_another_what_is_stored_is_kept(environment):
    runs, events = plan(DENSE, dynamic(5)), []
    launch.one_after_another(runs[:1], environment, events.append)
    launch.one_after_another(runs, environment, events.append)
    assert [(e.kind, e.run) for e in events if e.kind != "step"] == [
        ("trained", 0),
        ("kept", 0),
        ("trained", 1),
    ]
    step = next(e for e in events if e.kind == "step")
    assert (step.step, step.steps) == (1, 6) and float(step.text) > 0


def test_a_run_that_fails_is_told_and_the_others_go_on(environment):
    events = []
    launch.one_after_another(plan(dynamic(999), DENSE), environment, events.append)
    ends = [e for e in events if e.kind != "step"]
    assert [e.kind for e in ends] == ["failed", "trained"]
    assert ends[0].text.startswith("ValueError: ") and "got 999" in ends[0].text


@pytest.mark.slow
def test_side_by_side_equals_one_after_another(tmp_path, one_thread):
    """Two processes, three networks, one of which cannot be built."""
    runs, events = plan(DENSE, dynamic(999), dynamic(5)), []
    apart, alone = Environment(tmp_path / "apart"), Environment(tmp_path / "alone")
    launch.side_by_side(runs, [apart, apart], events.append)
    ends = {e.run: e.kind for e in events if e.kind != "step"}
    assert ends == {0: "trained", 1: "failed", 2: "trained"}
    launch.one_after_another(runs[:1], alone, events.append)
    ours, theirs = ({run.folder.name: run for run in store.load(e.out)} for e in (apart, alone))
    ((name, run),) = theirs.items()
    assert len(ours) == 2 and ours[name]["epochs"] == run["epochs"]
    assert ours[name]["accuracy"] == run["accuracy"]


def test_a_schedulers_signal_is_as_ctrl_c():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), launch.stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_ctrl_c_stops_every_process_at_a_checkpoint(tmp_path):
    """Long runs: they end only because they are told to, and have left what to go on from."""
    runs = plan(DENSE, dynamic(5), epochs=100_000)
    environment, at_work = Environment(tmp_path), set()

    def tell(event):
        if event.kind == "step" and event.step > 1 and event.run not in at_work:
            at_work.add(event.run)
            if len(at_work) == 2:
                main = threading.main_thread().ident
                threading.Timer(0.1, signal.pthread_kill, [main, signal.SIGINT]).start()

    with pytest.raises(KeyboardInterrupt):
        launch.side_by_side(runs, [environment, environment], tell)
    checkpoints = list(tmp_path.glob(f"runs/*/{store.CHECKPOINTS}/step-*"))
    assert len({path.parent for path in checkpoints}) == 2
    assert store.load(tmp_path) == []


@pytest.mark.slow
def test_a_process_that_is_killed_is_told_of_and_the_others_go_on(tmp_path):
    runs, events = [*plan(DENSE, epochs=100_000), *plan(dynamic(5))], []

    def tell(event):
        events.append(event)
        if event.kind == "step" and event.step > 1 and event.run == 0:
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGKILL)

    launch.side_by_side(runs, [Environment(tmp_path)], tell)
    ends = {e.run: e for e in events if e.kind != "step"}
    assert ends[0].kind == "failed" and "its process ended" in ends[0].text
    assert ends[1].kind == "trained"
