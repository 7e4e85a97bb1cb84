"""Models by name or function, weights from files, and what is said when they do not fit."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import squeezenet1_1

from interpretable_sgd.report.models import load_model, read_state


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def nothing() -> None:
    return None


SPEC = f"{__name__}:small"


@pytest.fixture
def here(monkeypatch):
    """This module under its own name, however it was imported."""
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules[small.__module__])


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("nest", ["", "state_dict", "model", "net", "model_state_dict"])
@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.",
        "_orig_mod.",
        "_orig_mod.module.",
        "module._orig_mod.",
        "model.",
        "backbone.net.",
    ],
)
def test_weights_of_torch_in_the_forms_that_trainers_write(tmp_path, nest, prefix):
    own = {
        prefix + name: torch.rand_like(v.float()).to(v) for name, v in small().state_dict().items()
    }
    torch.save({nest: own, "epoch": 3} if nest else own, tmp_path / "w.pt")
    found = load_model(SPEC, tmp_path / "w.pt")
    assert not found.training
    for name, value in found.state_dict().items():
        assert torch.equal(value, own[prefix + name])


@pytest.mark.usefixtures("here")
def test_without_weights_the_model_is_as_built():
    assert isinstance(load_model(SPEC), nn.Sequential)


def test_a_torchvision_model_has_the_classes_of_its_weights(tmp_path):
    save_file(squeezenet1_1(num_classes=7).state_dict(), tmp_path / "w.safetensors")
    found = load_model("torchvision:squeezenet1_1", tmp_path / "w.safetensors")
    assert found(torch.rand(1, 3, 64, 64)).shape == (1, 7)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet18", r"model must be torchvision:NAME or MODULE:CALLABLE, got 'resnet18'"),
        ("torchvision:resnet18", "weights must be given for a torchvision model"),
        ("no_such_module:f", "model must name a module that can be imported"),
        (f"{__name__}:absent", "has no callable 'absent'"),
        (f"{__name__}:nothing", "nothing must return a module, got NoneType"),
    ],
)
def test_models_that_are_none(spec, message):
    with pytest.raises(ValueError, match=message):
        load_model(spec)


def test_unknown_torchvision_models(tmp_path):
    torch.save({}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="one of torchvision's classifiers, got 'resnet19'"):
        load_model("torchvision:resnet19", tmp_path / "w.pt")


@pytest.mark.usefixtures("here")
def test_weights_that_do_not_fit(tmp_path):
    state = small().state_dict()
    state["0.weight"] = torch.zeros(3, 5)
    state["extra"] = state.pop("0.bias")
    torch.save(state, tmp_path / "w.pt")
    expected = (
        r"weights must fit the model, they hold no 0.bias, extra that the model has not, "
        r"0.weight of \(3, 5\) for \(3, 4\)"
    )
    with pytest.raises(ValueError, match=expected):
        load_model(SPEC, tmp_path / "w.pt")
    torch.save({}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"no 0.weight, no 0.bias, no 1.weight and 4 more"):
        load_model(SPEC, tmp_path / "w.pt")


@pytest.mark.usefixtures("here")
def test_what_averages_and_modules_save_beside_the_model_is_left_out(tmp_path):
    own = small().state_dict()
    averaged = {"n_averaged": torch.tensor(3)} | {f"module.{k}": v for k, v in own.items()}
    torch.save(averaged, tmp_path / "w.pt")
    load_model(SPEC, tmp_path / "w.pt")
    lightning = {f"model.{k}": v for k, v in own.items()} | {"loss.weight": torch.ones(3)}
    torch.save({"state_dict": lightning, "epoch": 3, "optimizer_states": [{}]}, tmp_path / "w.pt")
    load_model(SPEC, tmp_path / "w.pt")


@pytest.mark.usefixtures("here")
def test_a_compiled_part_has_its_plain_name(tmp_path):
    state = {k.replace("0.", "0._orig_mod."): v for k, v in small().state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    load_model(SPEC, tmp_path / "w.pt")


@pytest.mark.usefixtures("here")
def test_two_models_in_a_file_are_not_chosen_from(tmp_path):
    own = small().state_dict()
    both = {f"{which}.{k}": v for which in ("student", "teacher") for k, v in own.items()}
    torch.save(both, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"hold the model once, .*'student.', 'teacher.'"):
        load_model(SPEC, tmp_path / "w.pt")


@pytest.mark.usefixtures("here")
def test_a_half_precision_model_is_read_in_32_bits(tmp_path):
    torch.save(small().half().state_dict(), tmp_path / "w.pt")
    assert next(load_model(SPEC, tmp_path / "w.pt").parameters()).dtype == torch.float32


def wants(classes: int) -> nn.Module:
    return nn.Linear(2, classes)


@pytest.mark.usefixtures("here")
def test_a_callable_that_wants_arguments_is_named():
    with pytest.raises(
        ValueError, match=r"wants must return a module when called without argu.*classes"
    ):
        load_model(f"{__name__}:wants")


def test_a_whole_model_in_a_file_is_refused_with_advice_that_helps(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"torch.save\(model.state_dict") as error:
        read_state(tmp_path / "w.pt")
    assert "weights_only" not in str(error.value)


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"weights must be a file, and .*absent.pt is none"):
        read_state(tmp_path / "absent.pt")
    for name in ("w.pt", "w.safetensors"):
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(ValueError, match=f"weights .*{name} cannot be read"):
            read_state(tmp_path / name)
    torch.save({"a": 1}, tmp_path / "numbers.pt")
    with pytest.raises(
        ValueError, match=r"must hold a state dict, names and tensors, they hold \['a'\]"
    ):
        read_state(tmp_path / "numbers.pt")


def test_weights_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    torch.save({"a": Evil()}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="cannot be read"):
        read_state(tmp_path / "w.pt")
    assert not (tmp_path / "touched").exists()
