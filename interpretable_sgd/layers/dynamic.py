"""Algorithm 2 as layers: every output is the sum of the few inputs that speak for it.

Index legend: ``n`` sample, ``o`` output unit, ``m`` input unit, ``j`` kept slot.

The layers hold the parameters of nn.Linear and nn.Conv2d under the same names and shapes: a state
dict moves both ways.
"""

from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.layers.kernels.autograd import RoutedLinear
from interpretable_sgd.layers.top_k import Routes, Selection, check_k, check_selection, rank

# Older torch does not tell exporting from compiling; what is compiled there runs on standard operators.
is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


class DynamicLinear(nn.Linear):
    r"""A linear layer whose outputs sum their k largest contributions only.

    .. math:: y_o = b_o + \max_{\|R_o\|_1 \le k} \sum_m R_{om} W_{om} x_m

    The maximum is reached by the k largest positive products, fewer where fewer are positive.
    Gradients flow to the kept weights and inputs alone: it is exact (sub)gradient descent on the
    routed loss. A weight whose product is never among the kept ones never learns; with few input
    units, start from positive weights.

    Of equal products the input unit with the lowest index is kept. A NaN product counts as the
    largest and makes the output NaN. Inputs of 16 bits are multiplied and summed in float32.

    Derivatives of every order, ``torch.func`` transforms, ``torch.compile`` without graph breaks
    and autocast work; forward-mode derivatives do not. Exported graphs use standard operators only.

    Args:
        in_features: number of input units, m.
        out_features: number of output units, o.
        k: units an output may listen to, 1 <= k <= in_features.
        bias: add a bias after the sum.
        device: of the parameters.
        dtype: of the parameters.
        selection: ``"at_most_k"`` keeps positive products only, as Algorithm 2 says;
            ``"exactly_k"`` keeps k products whatever their sign, as the authors' published layer
            does.

    Shape:
        Input [..., m], output [..., o].

    Raises:
        TypeError: k is not an int; inputs and weights differ in dtype.
        ValueError: k is not in 1 .. in_features; selection is unknown; inputs have another width.

    >>> layer = DynamicLinear(4, 2, k=1, bias=False)
    >>> _ = layer.load_state_dict({"weight": torch.tensor([[1.0, 2, 3, 4], [-1, -1, -1, 5]])})
    >>> layer(torch.tensor([1.0, 1.0, 1.0, 0.0])).tolist()
    [3.0, 0.0]
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        k: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        selection: Selection = "at_most_k",
    ) -> None:
        check_k(k, in_features)
        check_selection(selection)
        super().__init__(in_features, out_features, bias, device, dtype)
        self.k = k
        self.selection: Selection = selection

    def forward(self, input: Tensor) -> Tensor:
        """Routed sums, [..., m] -> [..., o]."""
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return _scripted(input, self.weight, self.bias, self.k, self.selection)
        _check_width(self, input, input.shape[-1] if input.dim() else 0, self.in_features)
        return _routed(input, self.weight, self.bias, self.k, self.selection)

    @torch.no_grad()
    def routes(self, input: Tensor) -> Routes:
        """The units that each output sums for these inputs, and what each contributes.

        ``routes(x).contributions.sum(-1) + bias`` is ``layer(x)``, up to rounding.

        Args:
            input: [..., m].

        Returns:
            Units and contributions, [..., o, k], largest contribution first.
        """
        _check_width(self, input, input.shape[-1] if input.dim() else 0, self.in_features)
        return _routes(input, self.weight, self.k, self.selection)

    def extra_repr(self) -> str:
        """What repr shows between the parentheses."""
        return f"{super().extra_repr()}, k={self.k}, selection={self.selection!r}"


class DynamicConv2d(nn.Conv2d):
    """A 1x1 convolution whose outputs sum their k largest contributions at each position.

    `DynamicLinear` over the channels of every position, with its rules for ties, NaN and 16 bits.
    The output has the memory format of the input; channels_last saves a copy of both.

    Args:
        in_channels: number of input units, m.
        out_channels: number of output units, o.
        k: units an output may listen to at a position, 1 <= k <= in_channels.
        stride: step between positions.
        bias: add a bias after the sum.
        device: of the parameters.
        dtype: of the parameters.
        selection: as in `DynamicLinear`.

    Shape:
        Input [n, m, h, w] or [m, h, w], output [n, o, h', w'] or [o, h', w'].

    Raises:
        TypeError: k is not an int; inputs and weights differ in dtype.
        ValueError: k is not in 1 .. in_channels; selection is unknown; inputs have another shape.

    >>> layer = DynamicConv2d(16, 8, k=3)
    >>> layer(torch.rand(2, 16, 5, 5)).shape
    torch.Size([2, 8, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        k: int,
        stride: int | tuple[int, int] = 1,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        selection: Selection = "at_most_k",
    ) -> None:
        check_k(k, in_channels)
        check_selection(selection)
        super().__init__(
            in_channels, out_channels, 1, stride=stride, bias=bias, device=device, dtype=dtype
        )
        self.k = k
        self.selection: Selection = selection

    def forward(self, input: Tensor) -> Tensor:
        """Routed sums of the channels, [n, m, h, w] -> [n, o, h', w']."""
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            x = input[..., :: self.stride[0], :: self.stride[1]].movedim(-3, -1)
            weight = self.weight.flatten(1)
            return _scripted(x, weight, self.bias, self.k, self.selection).movedim(-1, -3)
        positions = self._positions(input)
        y = _routed(positions, self.weight.flatten(1), self.bias, self.k, self.selection)
        y = y.movedim(-1, -3)
        last = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
        if last and not input.is_contiguous():
            return y.contiguous(memory_format=torch.channels_last)
        return y.contiguous()

    @torch.no_grad()
    def routes(self, input: Tensor) -> Routes:
        """As `DynamicLinear.routes`, at every position.

        Args:
            input: [n, m, h, w] or [m, h, w].

        Returns:
            Units and contributions, [n, o, h', w', k] or [o, h', w', k].
        """
        routes = _routes(self._positions(input), self.weight.flatten(1), self.k, self.selection)
        return Routes(routes.units.movedim(-2, -4), routes.contributions.movedim(-2, -4))

    def extra_repr(self) -> str:
        """What repr shows between the parentheses."""
        return f"{super().extra_repr()}, k={self.k}, selection={self.selection!r}"

    def _positions(self, input: Tensor) -> Tensor:
        """[n, m, h, w] -> [n, h', w', m]."""
        if input.dim() not in (3, 4):
            raise ValueError(
                f"{type(self).__name__} expects [n, m, h, w] or [m, h, w], got {tuple(input.shape)}"
            )
        _check_width(self, input, input.shape[-3], self.in_channels)
        down, right = self.stride
        return input[..., ::down, ::right].movedim(-3, -1)


def _routed(x: Tensor, weight: Tensor, bias: Tensor | None, k: int, selection: Selection) -> Tensor:
    """y_o = b_o + the routed sum, [..., m] -> [..., o]."""
    at_most = selection == "at_most_k"
    x, weight, bias = _autocast(x, weight, bias)
    if is_exporting() or torch.onnx.is_in_onnx_export():
        y = _in_standard_operators(x, weight, k, at_most)
    else:
        rows = RoutedLinear.apply(x.reshape(-1, x.shape[-1]), weight, k, at_most)[0]
        y = rows.view(*x.shape[:-1], weight.shape[0])
    return y if bias is None else y + bias


def _routes(x: Tensor, weight: Tensor, k: int, selection: Selection) -> Routes:
    x, weight, _ = _autocast(x, weight, None)
    rows = x.reshape(-1, x.shape[-1])
    _, kept = RoutedLinear.apply(rows, weight, k, selection == "at_most_k")
    shape = (*x.shape[:-1], weight.shape[0], k)
    return Routes(*(t.view(shape) for t in rank(rows, weight, kept)))


def _scripted(x: Tensor, weight: Tensor, bias: Tensor | None, k: int, selection: str) -> Tensor:
    """The routed sum for torch.jit.script."""
    y = _in_standard_operators(x, weight, k, selection == "at_most_k")
    return y if bias is None else y + bias


def _in_standard_operators(x: Tensor, weight: Tensor, k: int, at_most: bool) -> Tensor:
    """The routed sum for exported graphs: every runtime knows these, at [..., o, m] of memory."""
    kept = (x.unsqueeze(-2) * weight).topk(k, dim=-1).values
    return (kept.clamp(min=0) if at_most else kept).sum(-1)


def _autocast(
    x: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Operands in the dtype that F.linear would run in."""
    device = x.device.type
    if torch.is_autocast_enabled(device) and x.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
        return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    if x.dtype != weight.dtype:
        raise TypeError(f"inputs and weights must have one dtype, got {x.dtype} and {weight.dtype}")
    return x, weight, bias


def _check_width(layer: nn.Module, input: Tensor, got: int, expected: int) -> None:
    if got != expected:
        raise ValueError(
            f"{type(layer).__name__} expects {expected} input units, got an input of shape "
            f"{tuple(input.shape)}"
        )
