"""The layers that are routed, as the user chooses them."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import TypeAlias

from torch import nn

from interpretable_sgd.optimizer.layer_gradients import Layer

Predicate: TypeAlias = Callable[[str, nn.Module], bool]
Layers: TypeAlias = str | nn.Module | Predicate | Iterable[str] | Iterable[nn.Module]

KEYWORDS = ("head", "all", "none")
UNNAMED = "given"
"""In a checkpoint: layers were chosen by module or function; which they are, the state says."""


class LayerChoice:
    """A choice of layers, by keyword, name, module or predicate.

    Args:
        layers: "head", "all" or "none"; a module name or a pattern ("layer4.*"), or several; a
            module or several, which stand for all layers in them; or a function of
            (name, module). Names are those of `named_modules()`.

    Raises:
        TypeError: anything else.

    >>> LayerChoice("layer4.*").holds("layer4.0.conv1", nn.Linear(2, 2))
    True
    """

    def __init__(self, layers: Layers) -> None:
        self.patterns: tuple[str, ...] = ()
        self.modules: set[nn.Module] = set()
        self.predicate: Predicate | None = None
        if isinstance(layers, str):
            self.patterns = (layers,)
        elif isinstance(layers, nn.Module):
            self.modules = set(layers.modules())
        elif callable(layers):
            self.predicate = layers
        else:
            self._several(layers)

    def _several(self, layers: Iterable[str] | Iterable[nn.Module]) -> None:
        try:
            several = list(layers)
        except TypeError:
            several = [layers]  # type: ignore[list-item]
        for layer in several:
            if isinstance(layer, str):
                self.patterns += (layer,)
            elif isinstance(layer, nn.Module):
                self.modules.update(layer.modules())
            else:
                raise TypeError(
                    "layers must be 'head', 'all', 'none', names, modules or a function of "
                    f"(name, module), got {layer!r}"
                )

    @property
    def keyword(self) -> str | None:
        """The keyword, if the choice is one."""
        single = self.patterns[0] if len(self.patterns) == 1 else None
        return single if single in KEYWORDS else None

    @property
    def plain(self) -> str | list[str]:
        """The choice in a checkpoint: a keyword, names, or that there are none."""
        if self.predicate or self.modules:
            return UNNAMED
        return self.keyword or list(self.patterns)

    def holds(self, name: str, layer: Layer) -> bool:
        """Whether the layer is chosen; every layer is a candidate for the head."""
        if self.keyword:
            return self.keyword != "none"
        if self.predicate:
            return bool(self.predicate(name, layer))
        return layer in self.modules or any(fnmatchcase(name, p) for p in self.patterns)
