"""Module: a model, and the Tensors and Modules found in its attributes."""

from __future__ import annotations

import reprlib
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_ce.common import spellings
from tinygrad_ce.engine.atomic import at_once
from tinygrad_ce.engine.constants import real
from tinygrad_ce.tensor import Tensor


class Module:
    """A part of a model. Its state is every Tensor among its attributes, and theirs.

    They are found in lists, tuples, deques, dicts and arrays of objects, too, and named after their places there.

    A subclass makes its Tensors and Modules in ``__init__`` and says in ``forward`` what it computes; call the module
    itself to run it. A Tensor that requires grad is a parameter; any other one is a constant of the model, saved with
    it. ``Module.__init__`` need not be called.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> class Scale(tg.nn.Module):
        ...     def __init__(self):
        ...         self.factor = tg.Tensor(2.0, requires_grad=True)
        ...     def forward(self, x):
        ...         return self.factor * x
        >>> Scale()(np.array([1.0, 2.0]))
        Tensor([2., 4.], dtype=float64, made by multiply)
        >>> list(Scale().state_dict())
        ['factor']
    """

    training = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = spellings.told(cls.__init__)  # type: ignore[method-assign]

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the module computes; a subclass says it."""
        raise TypeError(f"{type(self).__name__} has no forward: define `def forward(self, x): ...`")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.forward(*inputs, **options)

    def _children(self) -> Iterator[tuple[str, Any]]:
        """The Tensors and Modules among the attributes, by name, in the order they were set."""
        stack = list(vars(self).items())[::-1]
        seen: dict[int, Any] = {}  # lists and the like by identity: one may hold itself
        while stack:
            name, value = stack.pop()
            if isinstance(value, Tensor | Module):
                yield name, value
            elif id(value) not in seen and (parts := _parts(f"{type(self).__name__}.{name}", value)):
                seen[id(value)] = value
                stack += [(f"{name}.{place}" if place else name, part) for place, part in parts][::-1]

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with their dotted names.

        Args:
            prefix: what the names begin with.
            remove_duplicate: whether one that is shared comes once, under its first name, or under every name.

        Raises:
            ValueError: two of them have the same name.
            TypeError: some are in a set, where they have none.
        """
        stack: list[tuple[str, Module, frozenset[int]]] = [(prefix, self, frozenset())]
        found: set[int] = set()
        names: set[str] = set()
        while stack:
            name, module, above = stack.pop()
            if id(module) in (found if remove_duplicate else above):  # it may contain itself
                continue
            if id(module) not in found:
                _check_new(name, names)
            found.add(id(module))
            yield name, module
            below = [(_joined(name, place), child) for place, child in module._children()]
            above |= {id(module)}
            stack += [(name, child, above) for name, child in below if isinstance(child, Module)][::-1]

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every Tensor of the model with its dotted name; one that is shared comes once, under its first name.

        Raises:
            ValueError, TypeError: as for named_modules.
        """
        found: set[int] = set()
        names: set[str] = set()
        for prefix, module in self.named_modules():
            for name, child in module._children():
                if isinstance(child, Tensor) and id(child) not in found:
                    found.add(id(child))
                    _check_new(_joined(prefix, name), names)
                    yield _joined(prefix, name), child

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Every Tensor that requires grad, with its dotted name."""
        return ((name, t) for name, t in self.named_tensors() if t.requires_grad)

    def parameters(self) -> list[Tensor]:
        """Every Tensor that requires grad."""
        return [t for _, t in self.named_parameters()]

    def zero_grad(self) -> None:
        """Forget the gradients of all Tensors, also of those that no longer require one."""
        for _, t in self.named_tensors():
            t._grad = None

    def train(self, mode: bool = True) -> Module:
        """Set the module and all below it to training (dropout drops) or not."""
        at_once((module, "training", mode) for _, module in self.named_modules())
        return self

    def eval(self) -> Module:
        """Set the module and all below it to evaluation."""
        return self.train(False)

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of every Tensor's numbers, by dotted name."""
        return {name: t.numpy() for name, t in self.named_tensors()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give every Tensor the numbers of its name. If a name or shape doesn't fit, nothing changes.

        Raises:
            KeyError: names are missing or unknown.
            ValueError: an array has another shape than its Tensor.
        """
        tensors = dict(self.named_tensors())
        missing, unknown = sorted(tensors.keys() - state.keys()), sorted(state.keys() - tensors.keys())
        if missing or unknown:
            found = f"missing {missing or 'none'}, unknown {unknown or 'none'}"
            raise KeyError(f"load_state_dict: {found}; another model's?")
        for name, t in tensors.items():
            if np.shape(state[name]) != t.shape:
                raise ValueError(f"load_state_dict: {name} has shape {np.shape(state[name])}, expected {t.shape}")
        at_once((t, "_value", t._fitting(state[name])) for name, t in tensors.items())

    def named_generators(self) -> Iterator[tuple[str, np.random.Generator]]:
        """The random generators of layers that draw as they run (Dropout), with dotted names."""
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, np.random.Generator):
                    yield _joined(prefix, name), value

    def _options(self) -> str:
        """What ``repr`` says in brackets."""
        return ""

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        children = [(name, child) for name, child in self._children() if isinstance(child, Module)]
        if not children:
            return f"{type(self).__name__}({self._options()})"
        lines = [f"  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in children]
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])


def _joined(prefix: str, name: str) -> str:
    """A dotted name."""
    return f"{prefix}.{name}" if prefix else name


def _check_new(name: str, names: set[str]) -> None:
    """Note a name; refuse it if something else has it, as it would be saved and loaded in its place."""
    if name in names:
        raise ValueError(
            f"Module: two parts of the model are named {name!r}, and one would be lost where the model is saved; do "
            f"keys of a dict read the same (1 and '1'), or has a name a dot in it?"
        )
    names.add(name)


def _parts(where: str, value: Any) -> list[tuple[str, Any]]:
    """What a list, tuple, deque, dict or array of objects holds, with the names of the places."""
    if isinstance(value, list | tuple | deque):
        return [(str(i), part) for i, part in enumerate(value)]
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [(".".join(map(str, index)), part) for index, part in np.ndenumerate(value)]
    if isinstance(value, set | frozenset | dict) and any(isinstance(part, Tensor | Module) for part in value):
        what = "keys of a dict" if isinstance(value, dict) else f"a {type(value).__name__}"
        raise TypeError(f"Module: {where} has Tensors or Modules as {what}, where they have no names; use a list")
    return [(str(key), part) for key, part in value.items()] if isinstance(value, dict) else []


def as_input(x: Any, parameter: Tensor) -> Any:
    """What a layer is given: a Tensor as it is, a plain array in the dtype of the layer's parameter."""
    return x if isinstance(x, Tensor) else real("a layer's input", x).astype(parameter.dtype, copy=False)
