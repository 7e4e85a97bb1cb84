"""InterpretableSGD: SGD that updates, per output unit, the few connections responsible for it."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT, _use_grad_for_differentiable
from torch.optim.sgd import SGD, sgd

from interpretable_sgd.optimizer import options, update
from interpretable_sgd.optimizer.block_size import soft_threshold
from interpretable_sgd.optimizer.guarantees import Guarantee, combined
from interpretable_sgd.optimizer.join import Shadow
from interpretable_sgd.optimizer.layer_choice import Layers, Selection
from interpretable_sgd.optimizer.masked_layers import Routes
from interpretable_sgd.optimizer.masks import bias_ratio
from interpretable_sgd.optimizer.messages import CAPTURED
from interpretable_sgd.optimizer.routed_units import RoutedUnits
from interpretable_sgd.optimizer.sharding import whole

if dist.is_available():
    from torch.distributed.algorithms.join import Join


class InterpretableSGD(SGD):
    r"""SGD whose routed layers learn through about `block_size` connections per output unit.

    .. math::
       \begin{aligned}
       &\textbf{for}\; t = 1, 2, \ldots \;\textbf{do, in a routed layer } W \in \mathbb{R}^{O \times M}\\
       &\quad G_{cm} \leftarrow (W_{cm} - \tau \eta_t\, \bar g_{cm})_+^2\, L_{cm}
           &&\text{gate constants (\texttt{lipschitz})}\\
       &\quad \pi_{cm} \leftarrow \min(1, \kappa_c\, G_{cm}^{1/(1-s)}),\;
           \textstyle\sum_m \pi_{cm} = K_t
           &&\text{water-filling, } K_t = M^{1-p_t} K^{p_t},\; p_t = \min(1, t/H)\\
       &\quad q_{cm} \sim \mathrm{Bernoulli}\big((1-\epsilon)\, \pi_{cm} + \epsilon K_t/M\big)
           &&\text{one mask for the batch}\\
       &\quad u \leftarrow q \odot (g + \lambda W)
           &&\text{then momentum and step of SGD}\\
       &\quad |W_{cm}| \leftarrow \big(|W_{cm}| - a_t (1 - \pi_{cm})\big)_+
           &&a_t = \mathrm{shrink}\; p_t\, \eta_t / (\eta_{\max} H \sqrt{M})\\
       &\quad \bar g \leftarrow \beta \bar g + (1 - \beta)\, g
           &&\text{mean gradient, for the next step}\\
       &\quad L_{cm} \leftarrow \beta L_{cm} + (1 - \beta)\, \mathrm{mean}_i\, h_{ic} x_{im}^2
           &&\text{Lemma 2; } h_{ic} = \delta_{ic}^2
       \end{aligned}

    Parameters that are not routed, and all while K_t >= M, get `torch.optim.SGD`'s update bit for
    bit. The layers that own routed weights are found in the first forward pass; see `attach`.

    Args:
        params: parameters, named parameters or param groups, as for `torch.optim.SGD`. Every
            option below but `model` can also be a param group's own.
        lr, momentum, dampening, weight_decay, nesterov, maximize, foreach, differentiable, fused:
            as for `torch.optim.SGD`. Weight decay of a routed weight acts inside its mask. `fused`
            acts between mask and step.
        block_size: K > 0, connections selected per output unit on average once narrowed.
        sparsity: s <= 1 of Algorithm 3, the exponent gamma = 1 / (1 - s) of the constants; 1 is
            exact top-K. Default 0, proportional to the constants; -1 with correction="unbiased",
            where gamma = 1/2 has least variance (Theorem B).
        layers: what is routed: "head", the last Linear layer of the forward pass (where none runs,
            the last convolution); "all" Linear and convolution layers; "none"; names or patterns
            of modules; modules; or a function of (name, module).
        lipschitz: the constant that ranks connections: "gate", "weight", "softmax", "activation"
            or "contribution", see `lipschitz.SCORES`.
        mask: "shared" by the batch and drawn from past steps (Theorem A); "shared-current", drawn
            from the batch itself; "per-sample", as in Algorithm 3: the masked gradient is then in
            `param.grad` (Theorem C: biased, may diverge).
        draw: "independent" coordinates; "systematic": shared masks of a fixed size; "unit":
            rank-one per-sample masks of the same marginals, at the cost of one matrix product.
        correction: "none", or "unbiased": what is selected is divided by its probability.
        probabilities: "waterfill", or "paper": (L_cm / sum L)^gamma over the whole layer, of which
            at most one connection is selected on average.
        floor: eps in [0, 1), share of the block spent on uniform exploration. Default 0.05; 0 with
            probabilities="paper".
        shrink: >= 0, speed at which unrouted connections are emptied: in H / shrink steps at full
            strength. Default 30 for shared biased water-filled masks, else 0.
        horizon: H >= 0, steps over which the block narrows from M to K; about 40 % of a run is a
            good choice, 0 starts narrow. Default 250 where shrink has a default, else 0. A
            `BlockSizeScheduler` replaces it.
        foresight: tau >= 0, steps along the mean gradient at whose end gates are evaluated, so that a
            connection its class comes to need can be selected again. 0: gates as they are.
        memory: beta in [0, 1), share of the past in the running means of constants and gradient.
        nonfinite: "allow" gradients that are NaN or infinite to reach the weights, as torch.optim.SGD
            does, though never the running means; or "raise", which waits for the device.
        seed: of the masks; the same seed gives the same masks on every process and after a resume.
        model: attach to this model's layers now, before its first forward pass.

    Raises:
        ValueError: an option out of its range, or options that contradict one another.

    Warns:
        UserWarning: once, if masks are per sample (counterexample CE3); if no layer was found.

    Sources: Algorithm 3, Lemma 2 and Theorem 1 of the paper (ICCV 2019); what is kept of them and
    what is not: docs/method.md.

    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
    >>> optimizer = InterpretableSGD(model.parameters(), lr=0.1, block_size=2, horizon=50)
    >>> x, y = torch.eye(8), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    >>> for _ in range(100):
    ...     optimizer.zero_grad()
    ...     torch.nn.functional.cross_entropy(model(x), y).backward()
    ...     optimizer.step()
    >>> int(optimizer.routed_units()["2"].support.sum(1).max()) <= 3
    True
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
        sparsity: float | None = None,
        layers: Layers = "head",
        lipschitz: str = "gate",
        mask: str = "shared",
        draw: str = "independent",
        correction: str = "none",
        probabilities: str = "waterfill",
        floor: float | None = None,
        shrink: float | None = None,
        horizon: int | None = None,
        foresight: float = 10,
        memory: float = 0.9,
        nonfinite: str = "allow",
        seed: int = 0,
        model: nn.Module | None = None,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        self._selection, self._selections = Selection(layers), list[Selection]()
        self._routing = {
            "block_size": block_size,
            "sparsity": sparsity,
            "layers": self._selection.key,
            "lipschitz": lipschitz,
            "mask": mask,
            "draw": draw,
            "correction": correction,
            "probabilities": probabilities,
            "floor": floor,
            "shrink": shrink,
            "horizon": horizon,
            "narrowing": None,
            "foresight": foresight,
            "memory": memory,
            "nonfinite": nonfinite,
            "seed": seed,
        }
        options.completed(self._routing)
        super().__init__(
            params,
            lr,
            momentum,
            dampening,
            weight_decay,
            nesterov,
            maximize=maximize,
            foreach=foreach,
            differentiable=differentiable,
            fused=fused,
        )
        # Masks act between gradient and update, so a GradScaler must unscale before the step.
        self._step_supports_amp_scaling = False
        self._routes = Routes(self, self._selections)
        if model is not None:
            try:
                self.attach(model)
            except Exception:
                self.detach()
                raise

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, with any of the constructor's options but `model` as its own.

        Raises:
            TypeError: not a dict.
            ValueError: an option out of its range, or options that contradict one another.
        """
        self.defaults = self._routing | self.defaults
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, got {type(param_group).__name__}")
        own = "layers" in param_group
        selection = Selection(param_group["layers"]) if own else self._selection
        chosen = {key: param_group.get(key, self.defaults[key]) for key in options.KEYS}
        chosen = options.completed(chosen | {"layers": selection.key})
        super().add_param_group(param_group | chosen | {"routed": None})
        self._selections.append(selection)
        if hasattr(self, "_routes"):
            self._routes.restart()

    def attach(self, model: nn.Module) -> None:
        """Find the routed layers in a model now, not in its first forward pass.

        Raises:
            ValueError: a param group's `layers` names no layer of the model.
        """
        self._routes.attach(model)

    def detach(self) -> None:
        """Make all layers plain and remove all hooks; further steps are torch.optim.SGD's."""
        self._routes.close()

    # Steps, seeds and options are Python numbers here, which a compiled step would hold fixed.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @_use_grad_for_differentiable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; reads `.grad` and never writes it.

        Args:
            closure: reevaluates the model and returns the loss.

        Raises:
            RuntimeError: a parameter routed by name, module or predicate has a gradient, but no
                layer that owns it ran forward, or it ran with another weight, as in
                `torch.func.functional_call`; or its gradient is sparse. Nothing is updated then.
            FloatingPointError: a gradient or a statistic is not finite, and nonfinite="raise".
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            raise RuntimeError(CAPTURED)
        if hasattr(self, "_join_config"):
            Join.notify_join_context(self)  # type: ignore[arg-type]
        self._routes.settle()
        self._routes.check()
        for group in self.param_groups:
            params: list[Tensor] = []
            gradients: list[Tensor] = []
            buffers: list[Tensor | None] = []
            sparse = self._init_group(group, params, gradients, buffers)
            routed = [self._route(p, g, group) for p, g in zip(params, gradients, strict=True)]
            plain = [index for index, own in enumerate(routed) if own is None]
            masked = {index: own for index, own in enumerate(routed) if own is not None}
            for index, own in masked.items():
                gradients[index] = own.direction
            self._descend(group, plain, params, gradients, buffers, sparse)
            undecayed = group | {"weight_decay": 0, "maximize": False}
            self._descend(undecayed, list(masked), params, gradients, buffers, sparse=False)
            for index, own in masked.items():
                if own.shrink is not None:
                    params[index].copy_(soft_threshold(params[index], own.shrink))
        return loss

    def _route(
        self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]
    ) -> update.Update | None:
        """The masked update of a routed parameter; None where torch.optim.SGD's applies."""
        if not self._routes.holds(parameter):
            return None
        state, key = self.state[parameter], self._routes.key(parameter)
        observed = self._routes.observed(parameter)
        update.follow(state, parameter.device)
        state["peak_lr"] = max(state["peak_lr"], float(group["lr"]))
        if group["mask"] != "shared":
            update.remember(state, observed, gradient, group)
        if group["mask"] == "per-sample":
            masked = update.per_sample(parameter, gradient, observed, state, group)
        else:
            masked = update.shared(parameter, gradient, state, group, key)
        if group["mask"] == "shared":
            update.remember(state, observed, gradient, group)
        state["routed_steps"] += 1
        return masked

    def _descend(
        self,
        group: dict[str, Any],
        chosen: list[int],
        params: list[Tensor],
        gradients: list[Tensor],
        buffers: list[Tensor | None],
        sparse: bool,
    ) -> None:
        """torch.optim.SGD's own arithmetic on the chosen parameters."""
        momentum = [buffers[index] for index in chosen] if group["momentum"] else []
        given = [gradients[index] for index in chosen]
        if group["nesterov"] and group["foreach"] is not False:
            # torch's foreach form would add the momentum to the caller's own gradients
            given = [gradient.clone() for gradient in given]
        sgd(
            [params[index] for index in chosen],
            given,
            momentum,
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
            has_sparse_grad=sparse,
            foreach=group["foreach"],
            fused=group["fused"],
        )
        for index, buffer in zip(chosen, momentum, strict=False):
            self.state[params[index]]["momentum_buffer"] = buffer

    def join_hook(self, **_: Any) -> Shadow:
        """For `torch.distributed.algorithms.join.Join([ddp_model, optimizer])`."""
        return Shadow(self._routes, self.state)

    @property
    def join_device(self) -> torch.device:
        """For `Join`: where the parameters are."""
        device: torch.device = self.param_groups[0]["params"][0].device
        return device

    @property
    def join_process_group(self) -> Any:
        """For `Join`: all processes."""
        return dist.group.WORLD

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget gradients, and statistics since the last step: those of a skipped step go here."""
        self._routes.forget()
        super().zero_grad(set_to_none)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, and continue from it bit for bit; also one of torch.optim.SGD.

        Warns:
            UserWarning: the state routes layers, but has lost their statistics.
        """
        final: list[dict[str, Any]] = []

        def keep(optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]) -> None:
            final.append(state_dict)

        # The user's own hooks may have put another dict in its place.
        handle = self.register_load_state_dict_pre_hook(keep)
        try:
            super().load_state_dict(state_dict)
        finally:
            handle.remove()
        state_dict = final[-1]
        names = [name for group in state_dict["param_groups"] for name in group["params"]]
        parameters = [p for group in self.param_groups for p in group["params"]]
        for name, parameter in zip(names, parameters, strict=True):
            saved = state_dict["state"].get(name, {})
            # torch has cast them to the parameter's dtype.
            dtype = torch.promote_types(parameter.dtype, torch.float32)
            for key in saved.keys() & set(update.TENSORS):
                self.state[parameter][key] = saved[key].to(parameter.device, dtype, copy=True)
        self._routes.warn_of_lost()

    def __setstate__(self, state: dict[str, Any]) -> None:
        copied = "_routes" not in self.__dict__
        before = [] if copied else self.param_groups
        super().__setstate__(state)
        if copied:
            self._routing = {key: self.defaults[key] for key in options.KEYS}
            self._selection = Selection(self.defaults["layers"])
            self._selections = [Selection(group["layers"]) for group in self.param_groups]
            self._step_supports_amp_scaling = False
        # A checkpoint of torch.optim.SGD has no options: each group keeps its own.
        for group, own in itertools.zip_longest(self.param_groups, before, fillvalue=self._routing):
            if not group.keys() >= self._routing.keys():
                kept = {key: own[key] for key in options.KEYS}
                group.update(options.completed(kept | group))
            group.setdefault("routed", None)
        if copied:
            self._routes = Routes(self, self._selections)
        else:
            self._routes.restart()

    def routed_units(self, threshold: float = 1e-3) -> dict[str, RoutedUnits]:
        """Probabilities, selected shares and supports of every routed layer, by its name.

        Args:
            threshold: a connection is in the support if |w| >= threshold.

        Returns:
            Empty before the first step; tensors are new.
        """
        units = {}
        for parameter in self._routes.routed():
            state = self.state[parameter]
            group = self._routes.group(parameter)
            rule = update.rule(state, group)
            if rule.is_whole(state["selected"].shape[-1]):
                pi = torch.ones_like(state["selected"])
            elif group["mask"] == "per-sample":
                sums = state["moments"]
                pi = sums[1] / torch.where(sums[4] > 0, sums[4], 1)
            else:
                _, pi = update.shared_probabilities(parameter, state, group, rule)
            units[self._routes.name(parameter)] = RoutedUnits(
                probabilities=pi,
                selected=state["selected"] / max(1, state["routed_steps"]),
                support=whole(parameter.detach()).flatten(1).abs() >= threshold,
                block_size=rule.block_size,
            )
        return units

    def bias_ratio(self) -> dict[str, Tensor]:
        """theta_j of per-sample masks, by layer: see `masks.bias_ratio`; below 1 is Theorem C's."""
        return {
            self._routes.name(parameter): bias_ratio(self.state[parameter]["moments"])
            for parameter in self._routes.routed()
            if self._routes.group(parameter)["mask"] == "per-sample"
        }

    def guarantee(self) -> Guarantee:
        """Which theorem covers the present configuration, or that none does, and why."""
        return combined(self.param_groups)
