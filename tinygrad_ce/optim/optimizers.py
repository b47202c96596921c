"""Optimisers: SGD, Adam, AdamW, RMSprop. Their numbers are PyTorch's."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from itertools import repeat
from typing import Any

import numpy as np

from tinygrad_ce.common import spellings
from tinygrad_ce.common.options import finite, unrounded
from tinygrad_ce.engine.atomic import at_once, compare_and_swap
from tinygrad_ce.engine.single import HALF, SINGLE
from tinygrad_ce.tensor import Tensor

Rate = float | np.ndarray
"""A learning rate; of an optimiser with groups, one for each."""


def as_rate(where: str, name: str, value: Any, groups: int) -> Rate:
    """A learning rate, held against its range: one number for all groups, or one for each.

    Raises:
        TypeError, ValueError: it isn't.
    """
    if np.ndim(value) == 0:
        return finite(where, name, value)
    each = [finite(where, f"{name}[{i}]", rate) for i, rate in enumerate(value)]
    if len(each) != groups:
        expected = f"but the optimiser has {groups or 'no'} groups of parameters"
        raise ValueError(f"{where}: {name} has {len(each)} rates, {expected}")
    return np.array(each)


def _grouped(init: Callable[..., None]) -> Callable[..., None]:
    """An optimiser's ``__init__`` that takes groups, too: each becomes an optimiser with its own options."""

    @functools.wraps(init)
    def call(self: Optimizer, parameters: Any, *args: Any, **options: Any) -> None:
        given = parameters if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable) else [*parameters]
        if not isinstance(given, list) or not any(isinstance(part, Mapping) for part in given):
            init(self, given, *args, **options)
            return
        bound = inspect.signature(init).bind_partial(self, None, *args, **options).arguments
        chosen = _options_of_groups(type(self).__name__, given, dict([*bound.items()][2:]))
        groups = [type(self)(part, **options) for part, options in chosen]
        init(self, [p for group in groups for p in group.parameters], **chosen[0][1])
        self.groups, self.lr = groups, np.array([group.lr for group in groups])
        self.scheduled = (self.lr, self.lr)

    return call


def _options_of_groups(where: str, given: list[Any], shared: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    """The parameters of each group, and its options: its own, or else those that all share."""
    for i, group in enumerate(given):
        if not isinstance(group, Mapping) or "params" not in group:
            expected = 'expected groups alone, each a dict {"params": [w, …], "lr": …}'
            raise TypeError(f"{where}: parameters[{i}] is {type(group).__name__} {group!r}, {expected}")
    chosen = [{**shared, **group} for group in given]
    parts = [options.pop("params") for options in chosen]
    return [([part] if isinstance(part, Tensor) else part, own) for part, own in zip(parts, chosen, strict=True)]


class Optimizer:
    """Parameters, a learning rate, and what is remembered of each parameter from step to step.

    Call ``zero_grad``, ``loss.backward()``, ``step``. A step gives each parameter another array, so a graph recorded
    before it keeps its numbers.
    Parameters without a gradient, and those that no longer require one, are left alone. A float16 parameter has its
    numbers and its state in float32 here, and is rounded from them at each step.

    Parameters come as a list, or in groups, ``[{"params": […], "lr": 0.01}, {"params": […]}]``. A group may have any
    option of the optimiser for itself; what it leaves out is that of the optimiser. Then ``lr`` is an array, one rate
    for each group, and so is what a schedule sets; a number given to it is the rate of all.

    Example:
        >>> import tinygrad_ce as tg
        >>> w = tg.Tensor([1.0], requires_grad=True)
        >>> optimizer = tg.optim.SGD([w], lr=0.1)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> optimizer.zero_grad()
        >>> w
        Tensor([0.8], dtype=float64, requires_grad=True)
    """

    remembers: Set[str] = frozenset()
    """The names of what a step keeps of each parameter."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = spellings.told(_grouped(cls.__init__))  # type: ignore[method-assign]

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        name = type(self).__name__
        if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
            what = type(parameters).__name__
            raise TypeError(f"{name}: parameters is a {what}, expected a list of Tensors: [w] or model.parameters()")
        self.parameters = list(parameters)
        for i, p in enumerate(self.parameters):
            if not isinstance(p, Tensor) or not p.requires_grad or not p.is_leaf:
                what = type(p).__name__ if not isinstance(p, Tensor) else "a Tensor that is no leaf requiring grad"
                raise TypeError(f"{name}: parameters[{i}] is {what}, expected a leaf Tensor with requires_grad=True")
        if len({id(p) for p in self.parameters}) < len(self.parameters):
            raise ValueError(f"{name}: a parameter is listed twice, and would be updated twice")
        if not self.parameters:
            raise ValueError(f"{name}: no parameters; does the model have any Tensor that requires grad?")
        self.groups: list[Optimizer] = []  # what has options of its own: optimisers of which only the options count
        self.lr: Rate = finite(name, "lr", lr)
        # The rate before a schedule set its first one, and that first one.
        self.scheduled: tuple[Rate, Rate] = (self.lr, self.lr)
        self.memory: list[dict[str, np.ndarray]] = [{} for _ in self.parameters]

    @property
    def param_groups(self) -> Any:
        """PyTorch's name, for an error that says what it is here. (A ``__getattr__`` would slow every other name.)"""
        name = "param_groups"
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{spellings.instead(name, ())}")

    @property
    def rates(self) -> list[float]:
        """The learning rate of each group; of an optimiser without groups its only one."""
        lr = as_rate(type(self).__name__, "lr", self.lr, len(self.groups))
        found: list[float] = np.broadcast_to(lr, max(len(self.groups), 1)).tolist()
        return found

    def _each(self) -> Iterator[tuple[Optimizer, Tensor]]:
        """Each parameter, and whose options it has."""
        if not self.groups:
            return zip(repeat(self), self.parameters)
        return ((owner, p) for owner in self.groups for p in owner.parameters)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.parameters:
            p._grad = None

    def step(self) -> None:
        """Update every parameter that requires grad and has one. Whatever comes between, all is updated or nothing."""
        if self.groups:
            for group, lr in zip(self.groups, self.rates, strict=True):
                group.lr = lr
        while True:  # until no signal handler, nor another thread, updates the same parameters meanwhile
            before = self.memory
            memory = [{**kept} for kept in before]
            objects: list[Any] = [self]
            old: list[Any] = [before]
            new: list[Any] = [memory]
            for (owner, p), kept in zip(self._each(), memory, strict=True):
                w, g = p._value, p._grad
                if g is not None and p._requires_grad:
                    w.setflags(False)  # type: ignore[call-arg]  # nobody's rule may write to a graph's numbers
                    objects.append(p)
                    old.append(w)
                    new.append((owner._updated_half if w.itemsize == 2 else owner._updated)(w, g, kept))
            if compare_and_swap(objects, ["memory", *["_value"] * len(old)], old, new):
                return

    def _updated_half(self, w: np.ndarray, g: np.ndarray, memory: dict[str, np.ndarray]) -> np.ndarray:
        """The new numbers of a float16 parameter, rounded from float32 ones that are remembered as its "weights"."""
        before = memory.get("weights")
        if before is None or not np.array_equal(before.astype(HALF), w):  # the first step, or the user gave others
            before = w.astype(SINGLE)
        memory["weights"] = self._updated(before, g.astype(SINGLE), memory)
        return memory["weights"].astype(HALF)

    def _updated(self, w: np.ndarray, g: np.ndarray, memory: dict[str, np.ndarray]) -> np.ndarray:
        """A parameter's new numbers, from the old ones, the gradient and what is remembered; writes to none of them."""
        raise TypeError(f"{type(self).__name__} has no _updated: say what a step does")

    def state_dict(self) -> dict[str, np.ndarray]:
        """What is needed to go on: the learning rate, of each group, and the memory of each parameter."""
        state = {f"{i}.{key}": a.copy() for i, memory in enumerate(self.memory) for key, a in memory.items()}
        return {"lr": np.array(self.rates if self.groups else self.lr), **state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state. If it doesn't fit these parameters, nothing changes.

        Raises:
            ValueError: an entry is missing, or belongs to no parameter, or has another shape than it.
        """
        name = type(self).__name__
        lr = self._saved_rate(state)
        memory: list[dict[str, np.ndarray]] = [{} for _ in self.parameters]
        for key, value in state.items():
            if key == "lr":
                continue
            place, _, what = key.partition(".")
            if not place.isdigit() or int(place) >= len(memory):
                raise ValueError(f"{name}: the state has {key!r}, but there are {len(memory)} parameters")
            p = self.parameters[int(place)]
            if np.shape(value) not in (p.shape, ()):
                raise ValueError(f"{name}: {key} has shape {np.shape(value)}, expected the parameter's {p.shape}")
            dtype = SINGLE if p.dtype == HALF else p.dtype
            memory[int(place)][what] = np.array(value, dtype if what != "count" else float)
        for i, ((owner, _), kept) in enumerate(zip(self._each(), memory, strict=True)):
            if kept and set(kept) - {"weights"} != owner.remembers:
                wanted = sorted(owner.remembers)
                raise ValueError(f"{name}: the state has {sorted(kept)} for parameter {i}, expected {wanted}")
        at_once([(self, "lr", lr), (self, "memory", memory)])

    def _saved_rate(self, state: Mapping[str, Any]) -> Rate:
        name, groups = type(self).__name__, len(self.groups)
        if "lr" not in state:
            raise ValueError(f"{name}: the state has no lr; is it an optimiser's?")
        found = np.asarray(state["lr"], float)
        if found.shape != ((groups,) if groups else ()):
            words = f"but this optimiser has {groups or 'no'} groups of parameters"
            raise ValueError(f"{name}: the state's lr has shape {found.shape}, {words}")
        return as_rate(name, "lr", found, groups)


class SGD(Optimizer):
    r"""Gradient descent, :math:`w \leftarrow w - \eta\, g`, with momentum if asked for.

    Args:
        parameters: leaf Tensors, as ``model.parameters()`` gives.
        lr: the learning rate η ≥ 0.
        momentum: μ in :math:`v \leftarrow \mu v + g`, and v is used for g.
        nesterov: look ahead: :math:`g + \mu v` is used.
        weight_decay: λ, adds λ w to g.

    Raises:
        ValueError: a negative rate, no parameters, or nesterov without momentum.

    Example:
        >>> import tinygrad_ce as tg
        >>> w = tg.Tensor([1.0], requires_grad=True)
        >>> sgd = tg.optim.SGD([w], lr=0.1)
        >>> (w * w).sum().backward()
        >>> sgd.step()
        >>> w.data
        array([0.8])

    Source:
        Sutskever et al., On the importance of initialization and momentum in deep learning, 2013.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float = 0.01, momentum: float = 0.0, nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(parameters, lr)
        self.momentum = finite("SGD", "momentum", momentum)
        self.weight_decay = finite("SGD", "weight_decay", weight_decay)
        self.nesterov = nesterov
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov needs a momentum above 0")

    @property
    def remembers(self) -> Set[str]:  # type: ignore[override]
        """The velocity, where there is momentum, which a schedule may have set."""
        return {"velocity"} if self.momentum else set()

    def _updated(self, w: np.ndarray, g: np.ndarray, memory: dict[str, np.ndarray]) -> np.ndarray:
        if self.weight_decay:
            g = g + self.weight_decay * w
        if self.momentum:
            v = memory["velocity"] = self.momentum * memory.get("velocity", 0.0) + g
            g = g + self.momentum * v if self.nesterov else v
        return w - self.lr * g


class Adam(Optimizer):
    r"""Steps scaled by running means of the gradient and its square.

    :math:`m \leftarrow β_1 m + (1 - β_1) g`, :math:`v \leftarrow β_2 v + (1 - β_2) g^2`,
    :math:`w \leftarrow w - η\, \frac{m / (1 - β_1^t)}{\sqrt{v / (1 - β_2^t)} + ε}`.

    Args:
        parameters: leaf Tensors, as ``model.parameters()`` gives.
        lr: the learning rate η ≥ 0.
        betas: (β₁, β₂), each in [0, 1).
        eps: ε ≥ 0.
        weight_decay: λ, adds λ w to g.

    Example:
        >>> import tinygrad_ce as tg
        >>> w = tg.Tensor([1.0], requires_grad=True)
        >>> adam = tg.optim.Adam([w], lr=0.1)
        >>> (w * w).sum().backward()
        >>> adam.step()
        >>> w.data.round(6)
        array([0.9])

    Source:
        Kingma, Ba, Adam, 2014, arXiv:1412.6980.
    """

    remembers = frozenset({"mean", "square", "count"})

    def __init__(
        self, parameters: Iterable[Tensor], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(parameters, lr)
        name = type(self).__name__
        self.betas = (finite(name, "betas[0]", betas[0], below=1.0), finite(name, "betas[1]", betas[1], below=1.0))
        self.eps = finite(name, "eps", eps)
        self.weight_decay = finite(name, "weight_decay", weight_decay)

    def _updated(self, w: np.ndarray, g: np.ndarray, memory: dict[str, np.ndarray]) -> np.ndarray:
        if self.weight_decay:
            g = g + self.weight_decay * w
        new: np.ndarray = w - self._step(g, memory)
        return new

    def _step(self, g: np.ndarray, memory: dict[str, np.ndarray]) -> np.ndarray:
        """η m̂ / (√v̂ + ε)."""
        first, second = self.betas
        t = float(memory.get("count", 0)) + 1
        m = first * memory.get("mean", 0.0) + (1 - first) * g
        v = second * memory.get("square", 0.0) + (1 - second) * (g * g)
        memory.update(mean=m, square=v, count=np.array(t))
        root = np.sqrt(v) / math.sqrt(1 - second**t)
        return m / (root + unrounded(self.eps, g.dtype)) * (self.lr / (1 - first**t))  # type: ignore[no-any-return]


class AdamW(Adam):
    r"""Adam with the weight decay apart from the gradient: :math:`w \leftarrow w - η λ w` first.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.optim.AdamW([tg.Tensor([1.0], requires_grad=True)]).weight_decay
        0.01

    Source:
        Loshchilov, Hutter, Decoupled weight decay regularization, 2017, arXiv:1711.05101.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0.01,
    ) -> None:  # fmt: skip
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def _updated(self, w: np.ndarray, g: np.ndarray, memory: dict[str, np.ndarray]) -> np.ndarray:
        new: np.ndarray = w * (1 - self.lr * self.weight_decay) - self._step(g, memory)
        return new


class RMSprop(Optimizer):
    r"""Steps divided by the root of a running mean of the squared gradient.

    :math:`v \leftarrow α v + (1 - α) g^2`, :math:`w \leftarrow w - η\, g / (\sqrt{v} + ε)`.

    Args:
        parameters: leaf Tensors, as ``model.parameters()`` gives, or groups of them.
        lr: the learning rate η ≥ 0.
        alpha: α in [0, 1).
        eps: ε ≥ 0.
        weight_decay: λ, adds λ w to g.
        momentum: μ in :math:`u \leftarrow μ u + g / (\sqrt{v} + ε)`, and η u is the step.
        centered: divide by the gradient's standard deviation: :math:`v - m^2` is used for v, with the running mean
            :math:`m \leftarrow α m + (1 - α) g`.

    Example:
        >>> import tinygrad_ce as tg
        >>> w = tg.Tensor([1.0], requires_grad=True)
        >>> rmsprop = tg.optim.RMSprop([w], lr=0.01)
        >>> (w * w).sum().backward()
        >>> rmsprop.step()
        >>> w.data.round(6)
        array([0.9])

    Source:
        Tieleman, Hinton, Lecture 6.5: rmsprop, 2012; centered: Graves, Generating sequences, 2013, arXiv:1308.0850.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float = 0.01, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(parameters, lr)
        self.alpha = finite("RMSprop", "alpha", alpha, below=1.0)
        self.eps = finite("RMSprop", "eps", eps)
        self.weight_decay = finite("RMSprop", "weight_decay", weight_decay)
        self.momentum = finite("RMSprop", "momentum", momentum)
        self.centered = centered

    @property
    def remembers(self) -> Set[str]:  # type: ignore[override]
        """The running mean of the square, and what momentum and centred squares need."""
        return {"square", *["velocity"] * bool(self.momentum), *["mean"] * bool(self.centered)}

    def _updated(self, w: np.ndarray, g: np.ndarray, memory: dict[str, np.ndarray]) -> np.ndarray:
        if self.weight_decay:
            g = g + self.weight_decay * w
        square = memory["square"] = self.alpha * memory.get("square", 0.0) + (1 - self.alpha) * (g * g)
        if self.centered:
            mean = memory["mean"] = self.alpha * memory.get("mean", 0.0) + (1 - self.alpha) * g
            square = np.maximum(square - mean * mean, 0)  # rounded, a variance of 0 may come out below
        step = g / (np.sqrt(square) + unrounded(self.eps, g.dtype))
        if self.momentum:
            step = memory["velocity"] = self.momentum * memory.get("velocity", 0.0) + step
        new: np.ndarray = w - self.lr * step
        return new
