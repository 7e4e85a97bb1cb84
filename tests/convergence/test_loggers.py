"""Recorded values reach a logger under their names."""

import pytest

from interpretable_sgd.convergence import Recorder, log_to


class Writer:
    """As TensorBoard's SummaryWriter."""

    def __init__(self):
        self.seen = []

    def add_scalar(self, name, value, step):
        self.seen.append((name, value, step))


class Tracker:
    """As a wandb run."""

    def __init__(self):
        self.seen = []

    def log(self, values, step):
        self.seen += [(name, value, step) for name, value in values.items()]


@pytest.mark.parametrize("kind", [Writer, Tracker])
def test_every_value_of_a_reading_is_logged(kind):
    logger = kind()
    recorder = Recorder(horizon=5, callback=log_to(logger, prefix="run/"))
    for t in range(5):
        recorder.step(float(t), gradient=lambda t=t: 2.0 * t)
    assert logger.seen == [
        (f"run/{name}", value, t + 1)
        for t in range(5)
        for name, value in (("loss", float(t)), ("gradient", 2.0 * t))
    ]


def test_the_real_summary_writer_takes_it(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(tmp_path) as writer:
        Recorder(callback=log_to(writer)).step(1.0)
    assert list(tmp_path.iterdir())


def test_other_things_are_refused():
    with pytest.raises(TypeError, match=r"logger must have add_scalar.*got dict"):
        log_to({})
