"""The loop against the plain one it stands for, and each of its options against its absence."""

import os
import signal
import time

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from experiments.datasets.dataset import Augmented, collate
from experiments.recipes import Recipe
from experiments.training import checkpoints
from experiments.training.loop import Training
from experiments.training.sampler import EpochSampler
from tests.experiments.training.victim import BATCH, EPOCHS, SETTINGS, build, dataset, training


def weights(run):
    return [p.detach().clone() for p in run.model.parameters()]


def trained(**options):
    run = training(**options)
    run.run()
    return run


def test_it_is_the_plain_loop():
    """Without dropout, average and routing: SGD steps over the images that `EpochSampler` names."""
    run = training(routed=False, ema=None)
    run.model[3].p = 0.0
    run.run()
    model, images = build(), dataset()
    model[3].p = 0.0
    optimizer = torch.optim.SGD(model.parameters(), **SETTINGS)
    for step, batch in enumerate(EpochSampler(84, BATCH, EPOCHS, seed=0)):
        warm = 0.1 + 0.9 * step / 5 if step < 5 else 0.3 ** (step // 15)
        optimizer.param_groups[0]["lr"] = 0.1 * warm
        x, labels = map(list, zip(*(images[key] for key in batch), strict=True))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.stack(x)), torch.tensor(labels)).backward()
        optimizer.step()
    for ours, theirs in zip(weights(run), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stop", [1, 10, 13])
def test_a_run_goes_on_from_a_snapshot_bit_for_bit(stop):
    whole, cut, rest = training(), training(), training()
    taken = []
    cut.run(report=lambda at: taken.append(cut.snapshot()) if at.step == stop else None)
    whole.run()
    # a snapshot holds the tensors themselves: a copy is what a file would give
    assert cut.step == whole.step == 40
    saved = []

    def keep(at):
        if at.step == stop:
            saved.append(frozen(rest.snapshot()))

    rest.run(report=keep)
    resumed = training()
    resumed.load(saved[0])
    resumed.run()
    assert all(map(torch.equal, weights(resumed), weights(whole)))
    assert resumed.epochs == whole.epochs and len(whole.epochs) == EPOCHS


def frozen(snapshot):
    return checkpoints.Snapshot(
        snapshot.step,
        {k: v.clone() for k, v in snapshot.weights.items()},
        torch.utils._pytree.tree_map(
            lambda v: v.clone() if isinstance(v, torch.Tensor) else v, dict(snapshot.state)
        ),
        snapshot.config,
    )


def test_parts_of_a_batch_are_the_batch():
    """Equal to rounding where batch norm does not look at the batch; SGD, so that no mask is drawn."""

    def plain(accumulate):
        run = training(routed=False, ema=None, accumulate=accumulate)
        run.model[1], run.model[3] = nn.Identity(), nn.Identity()
        run.run()
        return run

    one, four = plain(1), plain(4)
    assert four.step == one.step
    for a, b in zip(weights(one), weights(four), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert four.epochs[-1]["loss"] == pytest.approx(one.epochs[-1]["loss"], rel=1e-4)


def test_the_average_is_evaluated_where_there_is_one():
    run, without = trained(ema=0.5), trained(ema=None)
    assert all(map(torch.equal, weights(run), weights(without)))
    assert without.trained is without.model and run.trained is not run.model
    assert not torch.equal(run.trained[0].weight, run.model[0].weight)
    slow = trained(ema=0.999)
    start = build()[0].weight
    gaps = [(r.trained[0].weight - start).norm() for r in (slow, run)]
    assert gaps[0] < gaps[1]


def test_numbers_of_each_epoch_and_step_are_recorded():
    run, losses = training(), []
    run.each_epoch = lambda model, epoch: {"bias": model[4].bias.sum().item() + epoch}
    run.each_step = lambda model, step, loss: losses.append(loss.item()) or {"loss": loss.item()}
    run.run()
    assert [set(epoch) for epoch in run.epochs] == [{"epoch", "bias"}] + [
        {"epoch", "loss", "lr", "bias"}
    ] * EPOCHS
    assert [epoch["epoch"] for epoch in run.epochs] == list(range(EPOCHS + 1))
    assert run.epochs[-1]["loss"] < run.epochs[1]["loss"]
    assert run.epochs[-1]["loss"] == pytest.approx(sum(losses[-10:]) / 10)
    assert run.epochs[-1]["lr"] == pytest.approx(0.1 * 0.3**2)
    assert run.curves == {"loss": list(zip(range(1, 41), losses, strict=True))}


def test_measuring_takes_no_time_of_training():
    run, plain = training(), trained()
    run.each_epoch = lambda model, epoch: time.sleep(0.2) or {}
    run.run()
    assert run.measuring_seconds >= 5 * 0.2 > plain.measuring_seconds
    assert all(map(torch.equal, weights(run), weights(plain)))


def test_bfloat16_learns_too():
    low, full = trained(precision="bfloat16"), trained()
    assert not torch.equal(low.model[0].weight, full.model[0].weight)
    assert low.epochs[-1]["loss"] < 0.9 * low.epochs[0]["loss"]
    assert low.model[0].weight.dtype == torch.float32


def test_float16_is_scaled():
    run = training(precision="float16")
    assert run.scaler.is_enabled() and not training().scaler.is_enabled()


def convolutional(**changes):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(32, 3, 6, 6, generator=generator)
    data = TensorDataset(images, (images.mean((1, 2, 3)) > 0).long())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        model = nn.Sequential(*net, nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return Training(
        model, optimizer, Augmented(data, lambda x: x, 0), Recipe(3, 8, **changes), collate=collate
    )


def test_channels_last_is_the_same_net(tmp_path):
    run, plain = convolutional(channels_last=True, checkpoint_every=5), convolutional()
    assert run.model[0].weight.is_contiguous(memory_format=torch.channels_last)
    run.run(tmp_path)
    plain.run()
    for a, b in zip(weights(run), weights(plain), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    again = convolutional(channels_last=True)
    again.run(tmp_path)
    assert all(map(torch.equal, weights(again), weights(run)))
    assert again.model[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.filterwarnings("ignore:Using `torch.compile")
def test_compiled_is_the_same_net(monkeypatch):
    """What is compiled runs; with the compiler taken out, bit for bit."""
    seen = []

    def compiler(model):
        seen.append(model)
        return torch._dynamo.disable(model)

    monkeypatch.setattr(torch, "compile", compiler)
    run = trained(compiled=True)
    assert seen == [run.model]
    assert all(map(torch.equal, weights(run), weights(trained())))


@pytest.mark.slow
def test_compiled_by_the_compiler():
    run = training(compiled=True)
    run.run()
    assert run.epochs[-1]["loss"] < 0.9 * run.epochs[0]["loss"]
    assert set(run.snapshot().weights) == set(training().snapshot().weights)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_step_and_saves(tmp_path, number):
    run = training(checkpoint_every=1000)
    before = signal.getsignal(number)

    def press(at):
        if at.step == 17:
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        run.run(tmp_path, report=press)
    assert signal.getsignal(number) is before
    assert [place.name for place in checkpoints.listed(tmp_path)] == ["step-000000017"]
    resumed = training()
    resumed.run(tmp_path)
    assert all(map(torch.equal, weights(resumed), weights(trained())))


@pytest.fixture
def interruptible():
    """Ctrl-C raises, though a shell that started the tests in the background may have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_ctrl_c_acts_at_once(interruptible):
    def press_twice(at):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second one was ignored")

    with pytest.raises(KeyboardInterrupt):
        training().run(report=press_twice)


def test_the_generators_of_the_caller_are_left_alone():
    run = training()
    before = torch.get_rng_state()
    run.run()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_is_a_function_of_its_seed():
    assert all(map(torch.equal, weights(trained()), weights(trained())))
    assert not torch.equal(trained(seed=1).model[0].weight, trained().model[0].weight)


def test_workers_draw_what_the_main_process_draws():
    run, alone = training(), trained()
    run.workers = 2
    run.run()
    assert all(map(torch.equal, weights(run), weights(alone)))


def test_a_loss_that_is_not_finite_is_not_saved(tmp_path):
    run = training(checkpoint_every=3)

    def spoil(at):
        if at.step == 7:
            run.model[0].weight.data.fill_(float("nan"))

    with pytest.raises(FloatingPointError, match="the loss of this epoch is nan at step 9"):
        run.run(tmp_path, report=spoil)
    assert checkpoints.latest(tmp_path).step == 6


def test_a_finished_run_is_left_alone(tmp_path):
    trained_once = training()
    trained_once.run(tmp_path)
    steps = []
    again = training()
    again.run(tmp_path, report=steps.append)
    assert steps == [] and again.step == 40


def test_too_few_images():
    with pytest.raises(ValueError, match="images must be at least a batch of 100, got 84"):
        EpochSampler(84, 100, 1, 0)
    with pytest.raises(ValueError, match="batch must be a multiple of 3 parts, got 8"):
        EpochSampler(84, 8, 1, 0, parts=3)
