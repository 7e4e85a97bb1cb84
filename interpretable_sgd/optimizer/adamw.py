"""InterpretableAdamW: AdamW after which every class reads the few connections responsible for its score."""

from torch import Tensor
from torch.optim import AdamW
from torch.optim.optimizer import ParamsT

from interpretable_sgd.optimizer.base import Interpretable
from interpretable_sgd.optimizer.guarantees import Guarantee
from interpretable_sgd.optimizer.layer_choice import Layers
from interpretable_sgd.optimizer.options import MethodName


class InterpretableAdamW(Interpretable, AdamW):
    """AdamW in the three phases of `InterpretableSGD`, with the same options."""

    normalises = True
    decouples_decay = True

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        block_size: float = 5,
        layers: Layers = "head",
        method: MethodName = "routed",
        brake: float | None = None,
        form: float | None = None,
        settle: float | None = None,
        pool: int | None = None,
        sparsity: float = 0.0,
        exploration: float = 0.05,
        shrink: float = 30.0,
        seed: int = 0,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            {
                "block_size": block_size,
                "layers": layers,
                "method": method,
                "brake": brake,
                "form": form,
                "settle": settle,
                "pool": pool,
                "sparsity": sparsity,
                "exploration": exploration,
                "shrink": shrink,
                "seed": seed,
            },
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
        )

    def guarantee(self) -> Guarantee:
        """None: the theorems speak of SGD."""
        return Guarantee(
            None,
            "",
            "",
            (),
            "the theorems are about SGD; AdamW divides by a running mean of squares",
        )
