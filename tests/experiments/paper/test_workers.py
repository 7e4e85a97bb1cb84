"""Runs side by side: each is trained once, one that fails does not stop the others, Ctrl-C stops all."""

import os
import signal
import threading

import pytest

from experiments.paper import store, workers
from experiments.paper.place import Place
from experiments.paper.planned import Planned
from tests.experiments.paper.conftest import DATA


def plan(*networks, epochs=1):
    return [Planned(net, f"sgd epochs={epochs}", DATA, "tiny", 0) for net in networks]


def test_one_after_another_what_is_stored_is_kept(quick):
    place = quick().place
    planned, events = plan("resnet18", "resnet18_d5a"), []
    workers.one_after_another(planned[:1], place, events.append)
    workers.one_after_another(planned, place, events.append)
    assert [(e.kind, e.run) for e in events if e.kind != "step"] == [
        ("trained", 0),
        ("kept", 0),
        ("trained", 1),
    ]
    step = next(e for e in events if e.kind == "step")
    assert (step.step, step.steps) == (1, 6) and float(step.text) > 0


def test_a_run_that_fails_is_told_and_the_others_go_on(quick):
    events = []
    planned = plan("resnet18_d999a", "resnet18")
    workers.one_after_another(planned, quick().place, events.append)
    ends = [e for e in events if e.kind != "step"]
    assert [e.kind for e in ends] == ["failed", "trained"]
    assert ends[0].text.startswith("ValueError: ") and "got 999" in ends[0].text


@pytest.mark.slow
def test_side_by_side_equals_one_after_another(tmp_path):
    """Two processes, three nets of the true tiny size, one of which cannot be built."""
    planned, events = plan("resnet18", "resnet18_d999a", "resnet18_d5a"), []
    apart, alone = Place(tmp_path / "apart", {}), Place(tmp_path / "alone", {})
    workers.side_by_side(planned, [apart, apart], events.append)
    ends = {e.run: e.kind for e in events if e.kind != "step"}
    assert ends == {0: "trained", 1: "failed", 2: "trained"}
    workers.one_after_another(planned[:1], alone, events.append)
    ours, theirs = store.load(apart.out), store.load(alone.out)
    assert len(ours) == 2 and ours[0].folder.name == theirs[0].folder.name
    assert ours[0]["epochs"] == theirs[0]["epochs"] and ours[0]["top1"] == theirs[0]["top1"]


def test_a_schedulers_signal_is_as_ctrl_c():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), workers.stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_ctrl_c_stops_every_process_at_a_checkpoint(tmp_path):
    """Long runs: they end only because they are told to, and have left what to go on from."""
    planned = plan("resnet18", "resnet18_d5a", epochs=100_000)
    place, at_work = Place(tmp_path, {}), set()

    def tell(event):
        if event.kind == "step" and event.step > 1 and event.run not in at_work:
            at_work.add(event.run)
            if len(at_work) == 2:
                main = threading.main_thread().ident
                threading.Timer(0.1, signal.pthread_kill, [main, signal.SIGINT]).start()

    with pytest.raises(KeyboardInterrupt):
        workers.side_by_side(planned, [place, place], tell)
    checkpoints = list(tmp_path.glob(f"runs/*/{store.CHECKPOINTS}/step-*"))
    assert len({path.parent for path in checkpoints}) == 2
    assert store.load(tmp_path) == []


def test_a_process_that_is_killed_is_told_of(tmp_path):
    planned, events = plan("resnet18", epochs=100_000), []

    def tell(event):
        events.append(event)
        if event.kind == "step" and event.step > 1:
            for child in workers.multiprocessing.active_children():
                os.kill(child.pid, signal.SIGKILL)

    workers.side_by_side(planned, [Place(tmp_path, {})], tell)
    assert events[-1] == workers.Event("failed", 0, text="its process ended with status -9")
