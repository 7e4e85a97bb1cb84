"""The schedule of the block size, in the manner of torch.optim.lr_scheduler."""

import copy
import pickle

import pytest
import torch
from torch import nn

from interpretable_sgd import BlockSizeScheduler, InterpretableSGD
from tests.models import MLP, same, train, weights


def test_the_block_narrows_over_total_steps() -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, block_size=5)
    scheduler = BlockSizeScheduler(optimizer, total_steps=4, start=1)
    seen, sizes = [scheduler.get_last_narrowing()], []

    def after() -> None:
        scheduler.step()
        seen.append(scheduler.get_last_narrowing())
        sizes.append(optimizer.routed_units()["2"].block_size)

    train(model, optimizer, MLP.batches(7), after)
    progress = [0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert seen == [[p] for p in progress]
    assert sizes == pytest.approx([20 * (5 / 20) ** p for p in progress[1:]])


def test_the_scheduler_replaces_the_horizon() -> None:
    results = []
    for horizon in (0, 3, 1000):
        model = MLP.model()
        optimizer = InterpretableSGD(model.parameters(), lr=0.1, horizon=horizon, shrink=0)
        train(model, optimizer, MLP.batches(), BlockSizeScheduler(optimizer, 3).step)
        results.append(weights(model))
    assert same(results[0], results[1]) and same(results[0], results[2])


def test_the_block_is_whole_until_the_first_scheduler_step() -> None:
    ours, theirs = MLP.model(), MLP.model()
    optimizer = InterpretableSGD(ours.parameters(), lr=0.1, momentum=0.9, block_size=1)
    BlockSizeScheduler(optimizer, total_steps=3)
    train(ours, optimizer, MLP.batches())
    train(theirs, torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9), MLP.batches())
    assert same(ours.parameters(), theirs.parameters())


def test_all_groups_narrow_and_those_added_later_too() -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model[0].parameters(), lr=0.1)
    scheduler = BlockSizeScheduler(optimizer, total_steps=2)
    scheduler.step()
    optimizer.add_param_group({"params": model[2].parameters()})
    scheduler.step()
    assert scheduler.get_last_narrowing() == [1.0, 1.0]


def test_the_state_continues() -> None:
    optimizers = [InterpretableSGD(MLP.model().parameters(), lr=0.1) for _ in range(2)]
    first, second = (BlockSizeScheduler(o, total_steps=4) for o in optimizers)
    for _ in range(2):
        first.step()
    state = first.state_dict()
    assert "optimizer" not in state
    second.load_state_dict(pickle.loads(pickle.dumps(state)))
    second.step()
    first.step()
    assert second.get_last_narrowing() == first.get_last_narrowing() == [0.75]


def test_loading_alone_sets_the_block() -> None:
    """As lr schedulers do not, but a resumed block must not jump back to the whole row."""
    run, resumed = (InterpretableSGD(MLP.model().parameters(), lr=0.1) for _ in range(2))
    scheduler = BlockSizeScheduler(run, total_steps=4)
    scheduler.step()
    later = BlockSizeScheduler(resumed, total_steps=4)
    later.load_state_dict(scheduler.state_dict())
    resumed.load_state_dict(run.state_dict())
    assert later.get_last_narrowing() == [0.25]


def test_a_copy_narrows_its_own_optimizer() -> None:
    model = MLP.model()
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    scheduler = BlockSizeScheduler(optimizer, total_steps=4)
    _, twin, twins_scheduler = copy.deepcopy((model, optimizer, scheduler))
    twins_scheduler.step()
    assert twins_scheduler.optimizer is twin
    assert scheduler.get_last_narrowing() == [0.0]
    assert twin.param_groups[0]["narrowing"] == 0.25


@pytest.mark.parametrize("total_steps", [0, -1])
def test_total_steps_are_positive(total_steps: int) -> None:
    optimizer = InterpretableSGD(nn.Linear(2, 2).parameters())
    with pytest.raises(ValueError, match=f"total_steps must be at least 1, got {total_steps}"):
        BlockSizeScheduler(optimizer, total_steps)
    assert optimizer.param_groups[0]["narrowing"] is None


def test_start_is_not_negative() -> None:
    optimizer = InterpretableSGD(nn.Linear(2, 2).parameters())
    with pytest.raises(ValueError, match="start must be at least 0, got -2"):
        BlockSizeScheduler(optimizer, 3, start=-2)


def test_other_optimizers_have_no_block() -> None:
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters())
    with pytest.raises(TypeError, match=r"optimizer must be an InterpretableSGD, .* got SGD"):
        BlockSizeScheduler(optimizer, 3)


def test_one_step_is_a_schedule() -> None:
    optimizer = InterpretableSGD(MLP.model().parameters(), lr=0.1)
    scheduler = BlockSizeScheduler(optimizer, total_steps=1)
    assert scheduler.get_last_narrowing() == [0.0]
    scheduler.step()
    assert scheduler.get_last_narrowing() == [1.0]
    optimizer.detach()
