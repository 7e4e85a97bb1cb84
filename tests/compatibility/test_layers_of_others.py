"""Linear layers that are wrapped, computed or quantised, and averages of weights."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn

from interpretable_sgd import InterpretableSGD
from tests.models import CLASSES, METHODS, MLP, Batch, same, train, weights

routing = pytest.mark.parametrize(
    "options", [METHODS[name] for name in ("route", "settle", "shared")]
)


class Adapted(nn.Module):
    """LoRA: a frozen layer, and beside it two thin ones that learn."""

    def __init__(self, base: nn.Linear, rank: int = 2) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, input: Tensor) -> Tensor:
        return self.base(input) + self.up(self.down(input))


@pytest.mark.row(
    "Layers and models",
    "LoRA: adapted layers below a head that is trained whole",
    "the head is routed, adapters and frozen layers are left alone. Where the head itself is adapted "
    "its last factor counts as head: choose `layers` by name",
)
@routing
def test_lora_below_a_head(options: dict, batches: list[Batch]) -> None:
    model = MLP.model()
    model[0] = Adapted(model[0])
    frozen = model[0].base.weight.clone()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = InterpretableSGD(trained, lr=0.1, **options)
    train(model, optimizer, batches)
    assert list(optimizer.routed_units()) == ["2"]
    assert torch.equal(model[0].base.weight, frozen) and model[0].up.weight.any()


@pytest.mark.row(
    "Layers and models",
    "LoRA of `peft`, `modules_to_save` for the head",
    "the saved head is routed",
)
@routing
def test_lora_of_peft(options: dict, batches: list[Batch]) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["0"], modules_to_save=["2"])
    model = peft.get_peft_model(MLP.model(), config)
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **options)
    train(model, optimizer, batches)
    ((name, units),) = optimizer.routed_units().items()
    assert name.endswith("2.modules_to_save.default") and not units.support.all()
    merged = model.merge_and_unload()
    assert isinstance(merged[2], nn.Linear)


HEADS: dict[str, Callable[[], nn.Module]] = {
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(20, CLASSES)),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(20, CLASSES)),
    "orthogonal": lambda: nn.utils.parametrizations.orthogonal(nn.Linear(20, CLASSES)),
    "quantisation-aware": lambda: torch.ao.nn.qat.Linear(
        20, CLASSES, qconfig=torch.ao.quantization.get_default_qat_qconfig()
    ),
}


@pytest.mark.row(
    "Layers and models",
    "a head whose weight is computed: weight, spectral and orthogonal norms, `torch.ao.nn.qat.Linear`",
    "what runs is not the parameter; the layer before is not routed in its place",
    answer="plain",
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("head", HEADS.values(), ids=list(HEADS))
def test_computed_weights_are_plain_and_said_so(
    head: Callable[[], nn.Module], batches: list[Batch]
) -> None:
    results = []
    for kind in (InterpretableSGD, torch.optim.SGD):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), head())
        optimizer = kind(model.parameters(), lr=0.1, momentum=0.9)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            train(model, optimizer, batches)
        said = [w for w in caught if "found nothing to route" in str(w.message)]
        assert len(said) == (kind is InterpretableSGD)
        results.append(weights(model))
    assert same(*results)


@routing
def test_a_routed_body_below_a_computed_head(options: dict, batches: list[Batch]) -> None:
    torch.manual_seed(0)
    head = nn.utils.parametrizations.spectral_norm(nn.Linear(20, CLASSES))
    model = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), head)
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, layers=["0"], **options)
    train(model, optimizer, batches)
    assert not optimizer.routed_units()["0"].support.all()


AVERAGES = {
    "SWA": {},
    "EMA": {"multi_avg_fn": get_ema_multi_avg_fn(0.9)},
    "SWA with buffers": {"use_buffers": True},
}


@pytest.mark.row(
    "Training loop",
    "averages of weights: `AveragedModel` (SWA, EMA), `SWALR`, `update_bn`",
    "the average is a plain model, its weights those of the averaged steps",
)
@pytest.mark.parametrize("average", AVERAGES.values(), ids=list(AVERAGES))
@routing
def test_averages_of_weights(options: dict, average: dict) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, CLASSES))
    optimizer = InterpretableSGD(model.parameters(), lr=0.1, **options)
    averaged, rates = AveragedModel(model, **average), SWALR(optimizer, swa_lr=0.05)
    seen: list[Tensor] = []

    def after() -> None:
        averaged.update_parameters(model)
        rates.step()
        seen.append(model[3].weight.detach().clone())

    train(model, optimizer, MLP.batches(), after)
    expected = seen[0]
    for number, weight in enumerate(seen[1:], start=1):
        share = 0.1 if "multi_avg_fn" in average else 1 / (number + 1)
        expected = torch.lerp(expected, weight, share)
    torch.testing.assert_close(averaged.module[3].weight.detach(), expected)
    update_bn([x for x, _ in MLP.batches()], averaged)
    assert [type(layer) for layer in averaged.module] == [
        nn.Linear,
        nn.BatchNorm1d,
        nn.ReLU,
        nn.Linear,
    ]
    assert list(optimizer.routed_units()) == ["3"], "passes of update_bn decide nothing"
