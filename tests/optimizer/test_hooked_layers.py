"""A layer that carries a probe is a plain layer to everyone else."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from interpretable_sgd import InterpretableSGD
from interpretable_sgd.optimizer.probes import PROBE
from tests.models import Batch, same, train


def test_hooks_of_the_user_fire_once(model: nn.Module, batches: list[Batch]) -> None:
    calls = []
    model[2].register_forward_hook(lambda *_: calls.append("forward"))
    model[2].register_full_backward_hook(lambda *_: calls.append("backward"))
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, batches)
    assert calls == ["forward", "backward"] * len(batches)


def test_copies_and_pickles_compute_the_same(model: nn.Module, batches: list[Batch]) -> None:
    keys, text = list(model.state_dict()), repr(model)
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    optimizer.attach(model)
    train(model, optimizer, batches)
    assert list(model.state_dict()) == keys and repr(model) == text
    saved = io.BytesIO()
    torch.save(model, saved)
    saved.seek(0)
    copies = [
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(saved, weights_only=False),
    ]
    for twin in copies:
        assert [type(m) for m in twin] == [nn.Linear, nn.ReLU, nn.Linear]
        assert not any(vars(m).get(PROBE) for m in twin.modules())
        assert same(twin.parameters(), model.parameters())
        assert torch.equal(twin(batches[0][0]), model(batches[0][0]))
    assert vars(model[2])[PROBE] is not None


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_a_hooked_model_may_be_scripted(model: nn.Module, batches: list[Batch]) -> None:
    optimizer = InterpretableSGD(model.parameters(), lr=0.1)
    train(model, optimizer, batches)
    scripted = torch.jit.script(model)
    assert torch.equal(scripted(batches[0][0]), model(batches[0][0]))
