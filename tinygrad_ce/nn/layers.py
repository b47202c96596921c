"""Layers: Linear, Embedding, Sequential, activations, Dropout, Standardize, and the losses as layers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygrad_ce import losses, ops
from tinygrad_ce.common.options import number
from tinygrad_ce.engine.constants import plain, unmasked
from tinygrad_ce.nn import init
from tinygrad_ce.nn.module import Module, as_input
from tinygrad_ce.tensor import Tensor

__all__ = [
    "ELU", "GELU", "BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "Dropout", "Embedding", "HuberLoss", "Identity",
    "KLDivLoss", "L1Loss", "LeakyReLU", "Linear", "LogSigmoid", "LogSoftmax", "MSELoss", "ModuleList", "NLLLoss",
    "ReLU", "Sequential", "SiLU", "Sigmoid", "Softmax", "Softmin", "Softplus", "Standardize", "Tanh",
]  # fmt: skip


class Linear(Module):
    r""":math:`y = x W^T + b`.

    Args:
        in_features: the width of x.
        out_features: the width of y.
        bias: whether there is a b.
        rng: a Generator, or a seed for one; None draws a fresh seed from the system.
        dtype: of the parameters; a plain array given to the layer takes it.

    The parameters are ``weight`` (out, in) and ``bias`` (out), drawn as PyTorch's, uniform within ±1/√in_features.

    Raises:
        ValueError: x isn't in_features wide.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.Linear(3, 2, rng=0)(np.zeros((5, 3))).shape
        (5, 2)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, rng: Any = None, dtype: Any = np.float32
    ) -> None:
        if in_features < 1 or out_features < 1:
            raise ValueError(f"Linear: in_features is {in_features}, out_features {out_features}; expected at least 1")
        rng = np.random.default_rng(rng)
        bound = 1 / math.sqrt(in_features)
        self.weight = init.uniform((out_features, in_features), bound, rng, dtype)
        self.bias = init.uniform((out_features,), bound, rng, dtype) if bias else None

    def forward(self, x: Any) -> Any:
        """x of shape (…, in_features) to (…, out_features)."""
        return ops.linear(as_input(x, self.weight), self.weight, self.bias)

    def _options(self) -> str:
        out, width = self.weight.shape
        return f"{width}, {out}" if self.bias is not None else f"{width}, {out}, bias=False"


class Embedding(Module):
    """A vector for each of num_embeddings things (words, tokens, categories): the rows of a table.

    Args:
        num_embeddings: how many there are.
        embedding_dim: the width of a vector.
        rng: a Generator, or a seed for one; None draws a fresh seed from the system.
        dtype: of the table.

    The parameter is ``weight`` (num_embeddings, embedding_dim), drawn as PyTorch's, standard normal.

    Raises:
        ValueError: an index isn't in 0 to num_embeddings - 1; the first is named.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.nn.Embedding(10, 4, rng=0)([[1, 2, 3]]).shape
        (1, 3, 4)
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, *, rng: Any = None, dtype: Any = np.float32) -> None:
        if num_embeddings < 1 or embedding_dim < 1:
            given = f"num_embeddings is {num_embeddings}, embedding_dim {embedding_dim}"
            raise ValueError(f"Embedding: {given}; expected at least 1")
        self.weight = init.normal((num_embeddings, embedding_dim), 1.0, np.random.default_rng(rng), dtype)

    def forward(self, input: Any) -> Any:
        """Indices of any shape to (…, embedding_dim). Whole numbers in floats, as ``fit`` hands them out, will do."""
        index = np.asarray(unmasked("Embedding: input", input))
        # Up to 1 / eps every whole number has a float of its own: none was rounded to another.
        if index.dtype.kind == "f" and np.abs(index).max(initial=0) < 1 / np.finfo(index.dtype).eps:
            whole = index.astype(np.intp)
            index = whole if (whole == index).all() else index
        return ops.embedding(index, self.weight)

    def _options(self) -> str:
        return ", ".join(map(str, self.weight.shape))


class ModuleList(Module):
    """Layers in a list, which a model's forward calls as it likes. A plain list as an attribute does the same.

    It can be indexed, sliced to a list, gone through, appended to, and an entry can be replaced.

    Args:
        modules: the layers.

    Raises:
        TypeError: one of them is no Module; or the list itself is called.

    Example:
        >>> import tinygrad_ce as tg
        >>> blocks = tg.nn.ModuleList([tg.nn.Linear(2, 2, rng=i) for i in range(2)])
        >>> blocks.append(tg.nn.ReLU())
        ModuleList(
          (0): Linear(2, 2)
          (1): Linear(2, 2)
          (2): ReLU()
        )
        >>> [name for name, _ in blocks.named_parameters()]
        ['0.weight', '0.bias', '1.weight', '1.bias']
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)

    @property
    def layers(self) -> list[Module]:
        """The layers in order."""
        return [layer for _, layer in self._children()]

    def append(self, module: Module) -> ModuleList:
        """Add a layer at the end."""
        return self.extend([module])

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add layers at the end: all, or none if one is no Module."""
        first = sum(map(str.isdigit, vars(self)))
        vars(self).update({str(i): self._checked(i, layer) for i, layer in enumerate(modules, first)})
        return self

    def _checked(self, i: int, layer: Any) -> Module:
        if not isinstance(layer, Module):
            fix = f"; make one: {layer.__name__}()" if isinstance(layer, type) else ""
            what = f"layer {i} is of type {type(layer).__name__}"
            raise TypeError(f"{type(self).__name__}: {what}, expected a Module{fix}")
        return layer

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """A list computes nothing; Sequential does."""
        raise TypeError(f"{type(self).__name__} has no forward, as it is a list: call its layers, or use Sequential")

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, i: Any) -> Any:
        return self.layers[i]

    def __setitem__(self, i: int, module: Module) -> None:
        place = range(len(self))[i]
        vars(self)[[name for name, _ in self._children()][place]] = self._checked(place, module)


class Sequential(ModuleList):
    """Layers one after the other.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.nn.Sequential(tg.nn.Linear(2, 8, rng=0), tg.nn.ReLU(), tg.nn.Linear(8, 3, rng=1))
        Sequential(
          (0): Linear(2, 8)
          (1): ReLU()
          (2): Linear(8, 3)
        )
    """

    def __init__(self, *layers: Module) -> None:
        super().__init__(layers)

    def forward(self, x: Any) -> Any:
        """x through every layer."""
        for layer in vars(self).values():
            if isinstance(layer, Module):
                x = layer(x)
        return x


class Identity(Module):
    """x as it is, in the place of a layer that is left out.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.Identity()(np.array([1.0, 2.0]))
        array([1., 2.])
    """

    def forward(self, x: Any) -> Any:
        """x."""
        return x


class ReLU(Module):
    r""":math:`\max(x, 0)`.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.ReLU()(np.array([-2.0, 0.0, 2.0]))
        array([0., 0., 2.])
    """

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return ops.relu(x)


class LeakyReLU(Module):
    """x where x > 0, else ``negative_slope`` · x.

    Args:
        negative_slope: the factor below 0.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.LeakyReLU(0.1)(np.array([-2.0, 0.0, 2.0]))
        array([-0.2,  0. ,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return ops.leaky_relu(x, self.negative_slope)

    def _options(self) -> str:
        return f"{self.negative_slope}"


class ELU(Module):
    r"""x where x > 0, else :math:`α (e^x - 1)`.

    Args:
        alpha: α, what is reached far below 0, with the other sign.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.ELU(0.5)(np.array([-2.0, 0.0, 2.0])).round(3)
        array([-0.432,  0.   ,  2.   ])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return ops.elu(x, self.alpha)

    def _options(self) -> str:
        return f"{self.alpha}"


class Tanh(Module):
    """The hyperbolic tangent.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.Tanh()(np.array([-2.0, 0.0, 2.0])).round(3)
        array([-0.964,  0.   ,  0.964])
    """

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return ops.tanh(x)


class Sigmoid(Module):
    r""":math:`\sigma(x) = 1 / (1 + e^{-x})`.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.Sigmoid()(np.array([-2.0, 0.0, 2.0])).round(3)
        array([0.119, 0.5  , 0.881])
    """

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return ops.sigmoid(x)


class Softplus(Module):
    r""":math:`\log(1 + e^x)`.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.Softplus()(np.array([-2.0, 0.0, 2.0])).round(3)
        array([0.127, 0.693, 2.127])
    """

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return ops.softplus(x)


class LogSigmoid(Module):
    r""":math:`\log \sigma(x)`.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.LogSigmoid()(np.array([-2.0, 0.0, 2.0])).round(3)
        array([-2.127, -0.693, -0.127])
    """

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return ops.logsigmoid(x)


class GELU(Module):
    r""":math:`x\,\Phi(x)`, with Φ the distribution function of the standard normal.

    Args:
        approximate: "none", or "tanh" for the usual approximation of Φ by a hyperbolic tangent.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.GELU()(np.array([-2.0, 0.0, 2.0])).round(3)
        array([-0.046,  0.   ,  1.954])
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return ops.gelu(x, self.approximate)

    def _options(self) -> str:
        return repr(self.approximate)


class SiLU(Module):
    r""":math:`x\,\sigma(x)`, also called swish.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.SiLU()(np.array([-2.0, 0.0, 2.0])).round(3)
        array([-0.238,  0.   ,  1.762])
    """

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return ops.silu(x)


class Softmax(Module):
    """Probabilities along an axis. A model trained with cross_entropy ends in logits, without this layer.

    Args:
        axis: the classes.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.Softmax()(np.array([1.0, 2.0, 3.0])).round(3)
        array([0.09 , 0.245, 0.665])
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        """Rows that sum to 1."""
        return ops.softmax(x, self.axis)

    def _options(self) -> str:
        return f"axis={self.axis}"


class Softmin(Softmax):
    """Probabilities along an axis that favour the smallest.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.Softmin()(np.array([1.0, 2.0, 3.0])).round(3)
        array([0.665, 0.245, 0.09 ])
    """

    def forward(self, x: Any) -> Any:
        """Rows that sum to 1."""
        return ops.softmin(x, self.axis)


class LogSoftmax(Softmax):
    """Logarithms of probabilities along an axis.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.LogSoftmax()(np.array([1.0, 2.0, 3.0])).round(3)
        array([-2.408, -1.408, -0.408])
    """

    def forward(self, x: Any) -> Any:
        """The logarithm of rows that sum to 1."""
        return ops.log_softmax(x, self.axis)


class Dropout(Module):
    """In training, each number is 0 with chance p and the others grow by 1 / (1 - p); in evaluation nothing happens.

    Args:
        p: the chance, in [0, 1).
        rng: a Generator, or a seed for one; None draws a fresh seed from the system.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.Dropout(0.5, rng=0)(np.ones(4))
        array([2., 2., 2., 0.])

    Source:
        Srivastava et al., Dropout, 2014.
    """

    def __init__(self, p: float = 0.5, *, rng: Any = None) -> None:
        if not 0 <= number("Dropout", "p", p) < 1:
            raise ValueError(f"Dropout: p is {p!r}, expected a chance in [0, 1)")
        self.p = p
        self.rng = np.random.default_rng(rng)

    def forward(self, x: Any) -> Any:
        """x with some numbers dropped."""
        if not self.training or self.p == 0:
            return x
        keep = self.rng.random(x.shape, np.float32) >= self.p
        return x * (keep / (1 - self.p)).astype(x.dtype)

    def _options(self) -> str:
        return f"{self.p}"


class Standardize(Module):
    """(x - mean) / scale of each feature, measured once on training data and saved with the model.

    Args:
        mean: what is subtracted, in the shape of a row.
        scale: what the difference is divided by, in the same shape.

    Raises:
        ValueError: shapes that differ, a number that isn't finite, or a scale of 0, as a constant feature's deviation.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.Standardize.of(np.array([[1.0, 7.0], [3.0, 7.0]]))(np.array([[3.0, 7.0]])).data
        array([[1., 0.]], dtype=float32)
    """

    def __init__(self, mean: Any, scale: Any) -> None:
        self.mean = Tensor(mean, dtype=np.float32)
        self.scale = Tensor(scale, dtype=np.float32)
        if self.mean.shape != self.scale.shape:
            raise ValueError(f"Standardize: mean has shape {self.mean.shape}, but scale {self.scale.shape}")
        for name, found, right in (
            ("mean", self.mean._value, np.isfinite(self.mean._value)),
            ("scale", self.scale._value, np.isfinite(self.scale._value) & (self.scale._value != 0)),
        ):
            if not right.all():
                place = ", ".join(map(str, np.argwhere(~right)[0]))
                raise ValueError(
                    f"Standardize: {name}[{place}] is {found[~right][0]}, expected a finite number other than 0; is "
                    "the feature constant? Standardize.of(x) takes a scale of 1 there"
                )

    @classmethod
    def of(cls, x: Any) -> Standardize:
        """The layer that gives rows mean 0 and deviation 1 in every feature that varies: an array, a Dataset, a Stream.

        Example:
            >>> import tinygrad_ce as tg
            >>> tg.nn.Standardize.of(tg.data.load_iris())
            Standardize(4 features)
        """
        if hasattr(x, "moments"):
            return cls(*x.moments())
        x = plain(x[0] if isinstance(x, tuple) else x, "Standardize.of: x").astype(np.float64)
        deviation = x.std(axis=0)
        return cls(x.mean(axis=0), np.where(deviation > 0, deviation, 1))

    def forward(self, x: Any) -> Any:
        """Rows of features to rows of features."""
        return (as_input(x, self.mean) - self.mean) / self.scale

    def _options(self) -> str:
        return f"{self.mean.size} features"


class _Loss(Module):
    """A loss with its options set once; called with an input and a target. Options are copied, so none can change."""

    operator: Any = None

    def __init__(self, **options: Any) -> None:
        self.options = {name: np.array(o) if isinstance(o, list | np.ndarray) else o for name, o in options.items()}

    def forward(self, input: Any, target: Any) -> Any:
        """The loss of an input against its target."""
        return type(self).operator(input, target, **self.options)

    def _options(self) -> str:
        return ", ".join(f"{name}={o!r}" for name, o in self.options.items())


class CrossEntropyLoss(_Loss):
    """cross_entropy with its options: axis, weight, ignore_index, reduction, label_smoothing.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> float(tg.nn.CrossEntropyLoss(reduction="sum")(np.zeros((2, 2)), [0, 1]))
        1.3862943611198906
    """

    operator = staticmethod(losses.cross_entropy)


class NLLLoss(_Loss):
    """nll_loss with its options: axis, weight, ignore_index, reduction. Its input are log-probabilities.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> float(tg.nn.NLLLoss()(np.log([[0.25, 0.75]]), [1]).round(4))
        0.2877
    """

    operator = staticmethod(losses.nll_loss)


class BCEWithLogitsLoss(_Loss):
    """binary_cross_entropy_with_logits with its options: weight, pos_weight, reduction.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.BCEWithLogitsLoss(reduction="none")(np.array([0.0, 40.0]), [1.0, 0.0]).round(4)
        array([ 0.6931, 40.    ])
    """

    operator = staticmethod(losses.binary_cross_entropy_with_logits)


class BCELoss(_Loss):
    """binary_cross_entropy with its options: weight, reduction. Its input are probabilities.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.BCELoss(reduction="none")(np.array([0.5, 0.9]), [1.0, 1.0]).round(4)
        array([0.6931, 0.1054])
    """

    operator = staticmethod(losses.binary_cross_entropy)


class KLDivLoss(_Loss):
    """kl_div with its options: reduction, log_target. Its input are log-probabilities.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> float(tg.nn.KLDivLoss(reduction="sum")(np.log([0.5, 0.5]), [0.25, 0.75]).round(4))
        0.1308
    """

    operator = staticmethod(losses.kl_div)


class MSELoss(_Loss):
    """mse_loss with its option reduction.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> float(tg.nn.MSELoss()(np.array([1.0, 2.0]), [1.0, 5.0]))
        4.5
    """

    operator = staticmethod(losses.mse_loss)


class L1Loss(_Loss):
    """l1_loss with its option reduction.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> float(tg.nn.L1Loss(reduction="sum")(np.array([1.0, 2.0]), [1.0, 5.0]))
        3.0
    """

    operator = staticmethod(losses.l1_loss)


class HuberLoss(_Loss):
    """huber_loss with its options: reduction, delta.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> float(tg.nn.HuberLoss(delta=2.0)(np.array([1.0, 2.0]), [1.0, 5.0]))
        2.0
    """

    operator = staticmethod(losses.huber_loss)
