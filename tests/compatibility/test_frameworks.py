"""Lightning, Accelerate, Hugging Face's Trainer, timm: a model trained in each, sparse at the end."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from interpretable_sgd import InterpretableAdamW, InterpretableSGD
from tests.models import CLASSES, METHODS

EPOCHS, BLOCK = 30, 4
OPTIONS: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "block_size": BLOCK}


def ends(steps: int) -> dict[str, dict[str, Any]]:
    """Options of a run that settles half-way, of one that ends as it is routed, and of shared masks.

    Args:
        steps: of the whole run; what is idle is gone by then.
    """
    return {
        "settle": {"brake": steps // 10, "form": steps // 5, "settle": steps // 2},
        "route": {"brake": steps // 10, "form": steps // 5, "settle": steps * 5 // 4},
        "shared": {"method": "shared", "form": steps * 2 // 5},
    }


ways = pytest.mark.parametrize("way", ["settle", "route", "shared"])


def data() -> TensorDataset:
    """64 inputs, of which 3 each decide a class."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(512, 64, generator=generator)
    y = torch.stack([x[:, 3 * c : 3 * c + 3].sum(1) for c in range(CLASSES)]).argmax(0)
    return TensorDataset(x, y)


def loader() -> DataLoader:
    return DataLoader(data(), 64, shuffle=True, generator=torch.Generator().manual_seed(0))


def build() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES))


def assert_sparse_and_right(model: nn.Module, optimizer: InterpretableSGD, way: str) -> None:
    """As many connections of 64 per class as the phase allows, and a model that classifies."""
    ((_, units),) = optimizer.routed_units().items()
    x, y = data().tensors
    connections = units.support.sum(1).float()
    most = {"settle": connections.max() <= BLOCK, "shared": connections.mean() <= 1.5 * BLOCK}
    assert most.get(way, connections.mean() < 32)
    assert way == "shared" or optimizer.phase == way
    assert (model(x).argmax(1) == y).float().mean() >= 0.9


def framework(what: str, how: str) -> pytest.MarkDecorator:
    return pytest.mark.row("Frameworks", what, how)


@framework(
    "Lightning", "automatic optimisation (a closure), clipping, and resumed from its checkpoint"
)
@pytest.mark.filterwarnings("ignore")
@ways
def test_lightning(way: str, tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = build()

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            return cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> InterpretableSGD:
            return InterpretableSGD(self.parameters(), **OPTIONS, **ends(EPOCHS * 8)[way])

    def trainer(epochs: int) -> Any:
        return lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            gradient_clip_val=1.0,
            default_root_dir=tmp_path,
        )

    half = trainer(EPOCHS // 2)
    half.fit(Module(), loader())
    half.save_checkpoint(tmp_path / "half.ckpt")
    module, whole = Module(), trainer(EPOCHS)
    whole.fit(module, loader(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    optimizer = whole.optimizers[0]
    assert optimizer.state[module.model[2].weight]["steps"] == EPOCHS * 8
    assert_sparse_and_right(module.model, optimizer, way)


@framework(
    "Accelerate", "`prepare`, `accumulate`, clipping, a scheduler, `save_state` and `load_state`"
)
@pytest.mark.filterwarnings("ignore")
@ways
def test_accelerate(way: str, tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = build()
    optimizer = InterpretableSGD(model.parameters(), **OPTIONS, **ends(EPOCHS * 4)[way])
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * 8)
    wrapped = accelerator.prepare(model, optimizer, loader(), rates)
    trained, wrapped_optimizer, batches, wrapped_rates = wrapped
    for epoch in range(EPOCHS):
        for x, y in batches:
            with accelerator.accumulate(trained):
                accelerator.backward(cross_entropy(trained(x), y))
                accelerator.clip_grad_norm_(trained.parameters(), 1.0)
                wrapped_optimizer.step()
                wrapped_rates.step()
                wrapped_optimizer.zero_grad()
        if epoch == EPOCHS // 2:
            accelerator.save_state(str(tmp_path))
            accelerator.load_state(str(tmp_path))
    assert optimizer.state[model[2].weight]["steps"] == EPOCHS * 4
    assert_sparse_and_right(model, optimizer, way)


@framework("Hugging Face `Trainer`", "`optimizers=(optimizer, scheduler)`, accumulation")
@pytest.mark.filterwarnings("ignore")
@ways
def test_trainer(way: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = build()

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.model(x)
            return {"loss": cross_entropy(logits, labels), "logits": logits}

    net = Classifier()
    optimizer = InterpretableSGD(net.parameters(), **OPTIONS, **ends(EPOCHS * 4)[way])
    rates = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=EPOCHS * 4)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=64,
        gradient_accumulation_steps=2,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    transformers.Trainer(
        model=net,
        args=arguments,
        train_dataset=[{"x": x, "labels": y} for x, y in data()],
        optimizers=(optimizer, rates),
    ).train()
    assert optimizer.state[net.model[2].weight]["steps"] == EPOCHS * 4
    assert_sparse_and_right(net.model, optimizer, way)


@framework(
    "timm", "`param_groups_weight_decay`, its schedulers, `dispatch_clip_grad`, `ModelEmaV3`"
)
@ways
def test_timm(way: str) -> None:
    timm = pytest.importorskip("timm")
    optim, utils = pytest.importorskip("timm.optim"), pytest.importorskip("timm.utils")
    schedulers = pytest.importorskip("timm.scheduler")
    model = build()
    decay = OPTIONS["weight_decay"]
    groups = optim.param_groups_weight_decay(model, weight_decay=decay)
    optimizer = InterpretableSGD(groups, **OPTIONS, **ends(EPOCHS * 8)[way])
    rates = schedulers.CosineLRScheduler(optimizer, t_initial=EPOCHS, lr_min=0.01)
    average = utils.ModelEmaV3(model, decay=0.9)
    for epoch in range(EPOCHS):
        for x, y in loader():
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            utils.dispatch_clip_grad(model.parameters(), 1.0, mode="norm")
            optimizer.step()
            average.update(model)
        rates.step(epoch + 1)
    assert timm.__version__ and type(average.module[2]) is nn.Linear
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, decay]
    assert_sparse_and_right(model, optimizer, way)
    assert_sparse_and_right(average.module, optimizer, way)


@framework("timm's registry", "`create_optimizer_v2(model, opt=...)` by names that are registered")
def test_the_registry_of_timm() -> None:
    factory = pytest.importorskip("timm.optim._optim_factory")
    registry = factory.OptimizerRegistry()
    for kind, momentum in ((InterpretableSGD, True), (InterpretableAdamW, False)):
        name = kind.__name__.lower()
        info = factory.OptimInfo(name, kind, has_eps=not momentum, has_momentum=momentum)
        registry.register(info)
        optimizer = registry.create_optimizer(
            build(), name, lr=0.1, weight_decay=0.01, block_size=3
        )
        assert type(optimizer) is kind
        group = optimizer.param_groups[0]
        assert group["block_size"] == 3 and group.get("momentum", 0.9) == 0.9
        assert [g["weight_decay"] for g in optimizer.param_groups] == [0.0, 0.01]


@framework(
    "Hugging Face `Trainer` that builds it", "`optimizer_cls_and_kwargs=(InterpretableAdamW, ...)`"
)
@pytest.mark.filterwarnings("ignore")
def test_trainer_builds_the_optimizer(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
        num_labels=4,
    )
    model = transformers.ViTForImageClassification(config)
    images = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=6,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=[{"pixel_values": x, "labels": n % 4} for n, x in enumerate(images)],
        optimizer_cls_and_kwargs=(
            InterpretableAdamW,
            {"lr": 1e-3, "block_size": 3, "brake": 0, "form": 0, "settle": 3},
        ),
    )
    trainer.train()
    optimizer = trainer.optimizer.optimizer
    assert type(optimizer) is InterpretableAdamW
    ((name, units),) = optimizer.routed_units().items()
    assert name.endswith("classifier") and units.support.sum(1).max() <= 3


@framework("models of timm: a ResNet and a Vision Transformer", "their heads are routed")
@pytest.mark.parametrize(("name", "head"), [("test_resnet", "fc"), ("test_vit", "head")])
@pytest.mark.parametrize("options", [METHODS[name] for name in ("route", "settle", "shared")])
def test_models_of_timm(options: dict, name: str, head: str) -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model(name, pretrained=False, num_classes=CLASSES)
    optimizer = InterpretableSGD(model.parameters(), lr=1e-2, **options)
    size = model.default_cfg["input_size"][-1]
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(model(torch.randn(4, 3, size, size)), torch.arange(4)).backward()
        optimizer.step()
    ((routed, units),) = optimizer.routed_units().items()
    assert routed == head and not units.support.all()
    assert options.get("method") or optimizer.phase in ("route", "settle")
