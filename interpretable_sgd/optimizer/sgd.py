"""InterpretableSGD: SGD after which every class reads the few connections responsible for its score."""

from torch import Tensor
from torch.optim import SGD
from torch.optim.optimizer import ParamsT

from interpretable_sgd.optimizer.base import Interpretable
from interpretable_sgd.optimizer.guarantees import Guarantee
from interpretable_sgd.optimizer.layer_choice import Layers
from interpretable_sgd.optimizer.options import MethodName


class InterpretableSGD(Interpretable, SGD):
    """SGD in three phases: a layer forms, is routed, and settles on `block_size` connections per row."""

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        block_size: float = 5,
        layers: Layers = "head",
        method: MethodName = "routed",
        form: float | None = None,
        settle: float | None = None,
        lookahead: float = 10.0,
        sparsity: float = 0.0,
        exploration: float = 0.05,
        shrink: float = 30.0,
        seed: int = 0,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            {
                "block_size": block_size,
                "layers": layers,
                "method": method,
                "form": form,
                "settle": settle,
                "lookahead": lookahead,
                "sparsity": sparsity,
                "exploration": exploration,
                "shrink": shrink,
                "seed": seed,
            },
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            maximize=maximize,
            foreach=foreach,
            differentiable=differentiable,
            fused=fused,
        )

    def guarantee(self) -> Guarantee:
        """Which theorem covers the present configuration, or that none does, and why."""
        raise NotImplementedError
