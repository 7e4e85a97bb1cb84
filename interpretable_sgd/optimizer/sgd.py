"""InterpretableSGD: SGD after which every class reads the few connections responsible for its score."""

from torch import Tensor
from torch.optim import SGD
from torch.optim.optimizer import ParamsT

from interpretable_sgd.optimizer.base import Interpretable
from interpretable_sgd.optimizer.guarantees import Guarantee, guarantee
from interpretable_sgd.optimizer.layer_choice import Layers
from interpretable_sgd.optimizer.options import MethodName


class InterpretableSGD(Interpretable, SGD):
    r"""SGD after which every class reads at most `block_size` units: in four phases, by its learning rate.

    A drop-in for `torch.optim.SGD`. A routed layer is *braked* (each sample teaches, per class, the K
    connections responsible for its score) while the rate is above 0.8 of its largest, *forms* under plain
    steps until it is 0.5, is *routed* while idle connections fade until it is 0.25, and is *settled*: plain
    SGD on the at most K connections that each row keeps. At a constant rate these are steps 250, 500 and
    750. Parameters that are not routed get `torch.optim.SGD`'s update bit for bit.

    Args:
        params: parameters, named parameters or param groups, as for `torch.optim.SGD`. Every
            option below can also be a param group's own.
        lr, momentum, dampening, weight_decay, nesterov, maximize, foreach, differentiable, fused:
            as for `torch.optim.SGD`.
        block_size: K > 0, connections that every output unit keeps at most; a row of no more is plain SGD.
        layers: what is routed: "head", the last Linear layer of the forward pass (where none runs,
            the last convolution); "all" Linear and convolution layers; "none"; names or patterns
            of modules; modules; or a function of (name, module). Contributions are compared by their
            magnitude in layers that are not the head, and in a head of one output.
        method: "routed", as above; "shared": one mask for the batch, drawn from the past, with Theorem
            A's rate; "algorithm3": Algorithm 3 as printed, a reference that may diverge.
        brake: when the first phase ends: a number of steps (an int), or a share of the largest learning
            rate (a float below 1) to which the rate must have fallen; 0 begins with forming. None: 0.8
            under a schedule; else 250 steps, or half of `form` if that is less.
        form: when forming ends, in the same units; None: 0.5 or 500 steps. With method="shared", steps
            over which the block narrows.
        settle: when a layer settles, in the same units; None: 0.25, or 750 steps and at least half as
            many again as `form`. `math.inf` never does; the method `settle()` does so at the next step.
        pool: units that all rows of a layer together read at most once it settles, at least `block_size`;
            None: each row chooses for itself.
        sparsity: s of Algorithm 3, for method="shared" (at most 1, which is exact top-K) and
            method="algorithm3" (below 1).
        exploration: in [0, 1), share of a shared mask that is drawn uniformly.
        shrink: >= 0, speed at which connections outside shared masks are emptied.
        seed: of the masks of "shared" and "algorithm3"; "routed" draws nothing.

    Raises:
        ValueError: an option out of its range, or options that contradict one another.

    Warns:
        UserWarning: once, if no layer was found, or one ends the run unsettled; if gradients came without
            statistics; if the method is Algorithm 3 (counterexample CE3).

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
    >>> optimizer = InterpretableSGD(model.parameters(), lr=0.1, block_size=2, form=30, settle=60)
    >>> x, y = torch.eye(8), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    >>> for _ in range(100):
    ...     optimizer.zero_grad()
    ...     torch.nn.functional.cross_entropy(model(x), y).backward()
    ...     optimizer.step()
    >>> (units,) = optimizer.routed_units().values()
    >>> int(units.support.sum(1).max())
    2

    .. math::
       \begin{aligned}
       &\textbf{brake, route}\quad\textbf{for}\text{ each sample } i \text{ and class } c\text{:}\\
       &\quad R_{ic} \leftarrow \text{the } K \text{ largest } W'_{cm} x_{im} > 0,\;
           W' = W - \tau \eta\, \bar g
           &&\text{Algorithm 2's selection, at the look-ahead}\\
       &\quad u_{cm} \leftarrow \textstyle\sum_i R_{icm} \delta_{ic} x_{im}
           &&\text{the gradient, in \texttt{.grad}: Algorithm 3, } s \to 1\\
       &\quad G_{cm} \leftarrow W'^2_{cm} \textstyle\sum_i R_{icm} \delta_{ic}^2 x_{im}^2
           &&\text{Lipschitz constants of the gates}\\
       &\quad \textbf{route}\text{: connections with a small share of } \bar G_c \text{ fade}\\
       &\textbf{form}\quad\text{torch.optim.SGD, a head's inputs centred}\\
       &\textbf{settle}\quad S_c \leftarrow \text{the largest } \bar G_{cm} \text{, at most } K,\;
           W_{cm} = 0 \text{ elsewhere}
           &&\text{then torch.optim.SGD on } S \text{ (Theorem H)}
       \end{aligned}

    A row whose mean selected step would lead uphill, <ubar_c, gbar_c> < 0, is trained densely until it
    does not.

    Sources: Algorithms 2 and 3 and Lemma 2 of the paper (ICCV 2019); docs/method.md says what is kept of
    them, and docs/theory.md what is proved.
    """

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
        return guarantee(self.param_groups, self._routed_layers())
