"""Elementwise operators. Where shapes differ they broadcast, and the reverse pass sums the gradient back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_ce.engine.primitive import primitive
from tinygrad_ce.engine.single import in_single
from tinygrad_ce.ops.composite import composite
from tinygrad_ce.ops.example import fixed, normal, spaced
from tinygrad_ce.ops.example import positive as above_zero

__all__ = [
    "abs", "add", "astype", "clip", "cos", "divide", "elu", "exp", "expm1", "gelu", "leaky_relu", "log", "log1p",
    "logsigmoid", "maximum", "minimum", "multiply", "negative", "normal_cdf", "positive", "power", "relu", "sigmoid",
    "silu", "sin", "softplus", "sqrt", "square", "subtract", "tanh", "where", "xlog1py", "xlogy",
]  # fmt: skip


@primitive(forward=np.add)
def add(a, b):
    """a + b, elementwise.

    Example:
        >>> add([1.0, 2.0], 3.0)
        array([4., 5.])
    """


add.vjp(a=lambda g, y, a, b: g, b=lambda g, y, a, b: g)
add.formula("a + b")
add.example(normal(3, 4), normal(4))


@primitive(forward=np.subtract)
def subtract(a, b):
    """a - b, elementwise.

    Example:
        >>> subtract([1.0, 2.0], 3.0)
        array([-2., -1.])
    """


subtract.vjp(a=lambda g, y, a, b: g, b=lambda g, y, a, b: -g)
subtract.formula("a - b")
subtract.example(normal(3, 1), normal(4))


@primitive(forward=np.multiply)
def multiply(a, b):
    """a · b, elementwise.

    Example:
        >>> multiply([1.0, 2.0], 3.0)
        array([3., 6.])
    """


multiply.vjp(a=lambda g, y, a, b: g * b, b=lambda g, y, a, b: g * a)
multiply.formula(r"a \cdot b")
multiply.example(normal(3, 4), normal(3, 1))


@primitive(forward=np.divide)
def divide(a, b):
    """a / b, elementwise.

    Example:
        >>> divide([1.0, 2.0], 4.0)
        array([0.25, 0.5 ])
    """


divide.vjp(a=lambda g, y, a, b: g / b, b=lambda g, y, a, b: -g * y / b)
divide.formula(r"\frac{a}{b}")
divide.example(normal(3, 4), above_zero(4))


@primitive(forward=np.power)
def power(a, b):
    """a to the power of b, elementwise. The gradient in b needs a > 0; at a = 0 it is 0 where b ≥ 0.

    Example:
        >>> power([1.0, 2.0], 3.0)
        array([1., 8.])
    """


def _power_rule(g, y, a, b):
    # b a**(b-1), and 0 at a = b = 0: a**0 is 1 everywhere.
    if isinstance(b, int | float):
        return g * (b * a ** (b - 1)) if b else g * 0
    return g * b * a ** np.where((a == 0) & (b == 0), 1, np.subtract(b, 1.0)).astype(y.dtype)


def _exponent_rule(g, y, a, b):
    a = y.dtype.type(a) if isinstance(a, int | float) else a
    return g * y * np.log(np.where((a == 0) & (b >= 0), 1, a))


power.vjp(a=_power_rule, b=_exponent_rule)
power.formula("a^{b}", a=r"g \cdot b \cdot a^{b - 1}", b=r"g \cdot y \cdot \log a")
power.example(above_zero(3, 4), normal(4))
power.example(spaced(3, 4), 3)
power.example(2.0, normal(3))


@primitive(forward=np.negative)
def negative(x):
    """-x.

    Example:
        >>> negative([1.0, -2.0])
        array([-1.,  2.])
    """


negative.vjp(x=lambda g, y, x: -g)
negative.formula("-x")
negative.example(normal(3, 4))


@primitive(forward=np.positive)
def positive(x):
    """x, as a Tensor of its own.

    Example:
        >>> positive([1.0, -2.0])
        array([ 1., -2.])
    """


positive.vjp(x=lambda g, y, x: g)
positive.formula("x")
positive.example(normal(3, 4))


@primitive(forward=np.abs)
def abs(x):
    """The absolute value. The gradient at 0 is 0.

    Example:
        >>> abs([1.0, -2.0])
        array([1., 2.])
    """


abs.vjp(x=lambda g, y, x: g * np.sign(x))
abs.formula("|x|")
abs.example(spaced(3, 4))


@primitive(forward=np.square)
def square(x):
    """x².

    Example:
        >>> square([1.0, -2.0])
        array([1., 4.])
    """


square.vjp(x=lambda g, y, x: 2 * g * x)
square.formula("x^2")
square.example(normal(3, 4))


@primitive(forward=np.sqrt)
def sqrt(x):
    """The square root. Its gradient at 0 is inf.

    Example:
        >>> sqrt([1.0, 4.0])
        array([1., 2.])
    """


sqrt.vjp(x=lambda g, y, x: g / (2 * y))
sqrt.formula(r"\sqrt{x}")
sqrt.example(above_zero(3, 4))


@primitive(forward=np.exp)
def exp(x):
    """e to the power of x.

    Example:
        >>> exp([0.0, 1.0])
        array([1.        , 2.71828183])
    """


exp.vjp(x=lambda g, y, x: g * y)
exp.formula("e^{x}")
exp.example(normal(3, 4))


@primitive(forward=np.expm1)
def expm1(x):
    """exp(x) - 1, accurate near 0.

    Example:
        >>> expm1([0.0, 1e-20])
        array([0.e+00, 1.e-20])
    """


expm1.vjp(x=lambda g, y, x: g * np.exp(x))
expm1.formula("e^{x} - 1")
expm1.example(normal(3, 4))


@primitive(forward=np.log)
def log(x):
    """The natural logarithm.

    Example:
        >>> log([1.0, 2.0])
        array([0.        , 0.69314718])
    """


log.vjp(x=lambda g, y, x: g / x)
log.formula(r"\log x")
log.example(above_zero(3, 4))


@primitive(forward=np.log1p)
def log1p(x):
    """log(1 + x), accurate near 0.

    Example:
        >>> log1p([0.0, 1e-20])
        array([0.e+00, 1.e-20])
    """


log1p.vjp(x=lambda g, y, x: g / (1 + x))
log1p.formula(r"\log(1 + x)")
log1p.example(above_zero(3, 4))


@primitive(forward=np.sin)
def sin(x):
    """The sine of x in radians.

    Example:
        >>> sin([0.0, 1.0])
        array([0.        , 0.84147098])
    """


sin.vjp(x=lambda g, y, x: g * np.cos(x))
sin.formula(r"\sin x")
sin.example(normal(3, 4))


@primitive(forward=np.cos)
def cos(x):
    """The cosine of x in radians.

    Example:
        >>> cos([0.0, 1.0])
        array([1.        , 0.54030231])
    """


cos.vjp(x=lambda g, y, x: -g * np.sin(x))
cos.formula(r"\cos x")
cos.example(normal(3, 4))


@primitive(forward=np.tanh)
def tanh(x):
    """The hyperbolic tangent.

    Example:
        >>> tanh([0.0, 1.0])
        array([0.        , 0.76159416])
    """


tanh.vjp(x=lambda g, y, x: g * (1 - y * y))
tanh.formula(r"\tanh x")
tanh.example(normal(3, 4))


def floating(x: Any) -> Any:
    """x as floats, in the dtype that NumPy's exp would give: unsigned integers have no negatives."""
    x = x if hasattr(x, "dtype") else np.asarray(x)
    return x if x.dtype.kind == "f" else x.astype(np.result_type(x, np.float16))


@primitive
@in_single
def sigmoid(x):
    """σ(x) = 1 / (1 + exp(-x)). Its gradient is σ(x) σ(-x), which doesn't cancel where σ is close to 1.

    Example:
        >>> sigmoid([0.0, -800.0])
        array([0.5, 0. ])
    """
    x = floating(x)
    e = np.exp(-np.abs(x))
    return np.where(np.less(x, 0), e, 1) / (1 + e)


sigmoid.vjp(x=lambda g, y, x: g * y * sigmoid(-x))
sigmoid.formula(r"\frac{1}{1 + e^{-x}}")
sigmoid.example(normal(3, 4))


@primitive
def softplus(x):
    """log(1 + exp(x)), without overflow.

    Example:
        >>> softplus([0.0, 800.0])
        array([6.93147181e-01, 8.00000000e+02])
    """
    return np.logaddexp(x, 0)


softplus.vjp(x=lambda g, y, x: g * sigmoid(x))
softplus.formula(r"\log(1 + e^{x})")
softplus.example(normal(3, 4))


@composite
def logsigmoid(x):
    """log σ(x) = -softplus(-x), accurate in both tails.

    Example:
        >>> logsigmoid([0.0, -800.0, 40.0])
        array([-6.93147181e-01, -8.00000000e+02, -4.24835426e-18])
    """
    return -softplus(np.negative(floating(x)))


logsigmoid.example(normal(3, 4))


@primitive
@in_single
def xlogy(x, y):
    """x log y, and 0 where x is 0, also at y = 0.

    Example:
        >>> xlogy([0.0, 1.0], [0.0, 2.0])
        array([0.        , 0.69314718])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.equal(x, 0) & ~np.isnan(y), 0, np.multiply(x, _weak(np.log, y)))


def _weak(log: Any, x: Any) -> Any:
    """A logarithm. Of a Python number it is a Python number, so that the other operand decides the dtype."""
    return float(log(x)) if type(x) in (int, float) else log(x)


xlogy.vjp(x=lambda g, y, a, b: g * _weak(np.log, b), y=lambda g, y, a, b: g * a / np.where((a == 0) & (b == 0), 1, b))
xlogy.formula(r"x \cdot \log y", x=r"g \cdot \log y", y=r"g \cdot \frac{x}{y}\text{, and 0 where } x \text{ is } 0")
xlogy.example(normal(3, 4), above_zero(4))


@primitive
@in_single
def xlog1py(x, y):
    """x log(1 + y), and 0 where x is 0, also at y = -1.

    Example:
        >>> xlog1py([0.0, 1.0], [-1.0, 1e-20])
        array([0.e+00, 1.e-20])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.equal(x, 0) & ~np.isnan(y), 0, np.multiply(x, _weak(np.log1p, y)))


xlog1py.vjp(
    x=lambda g, y, a, b: g * _weak(np.log1p, b), y=lambda g, y, a, b: g * a / np.where((a == 0) & (b == -1), 1, 1 + b)
)
xlog1py.formula(
    r"x \cdot \log(1 + y)", x=r"g \cdot \log(1 + y)", y=r"g \cdot \frac{x}{1 + y}\text{, and 0 where } x \text{ is } 0"
)
xlog1py.example(normal(3, 4), above_zero(4))


@primitive
def relu(x):
    """max(x, 0). The gradient at 0 is 0.

    Example:
        >>> relu([1.0, -2.0])
        array([1., 0.])
    """
    return np.maximum(x, 0)


relu.vjp(x=lambda g, y, x: np.where(x <= 0, 0, g))
relu.formula(r"\max(x, 0)")
relu.example(spaced(3, 4))


@primitive
@in_single
def leaky_relu(x, negative_slope=0.01):
    """x where x > 0, else negative_slope · x. The gradient at 0 is negative_slope.

    Example:
        >>> leaky_relu([1.0, -2.0])
        array([ 1.  , -0.02])
    """
    return np.where(np.greater(x, 0), x, np.multiply(x, negative_slope))


leaky_relu.vjp(x=lambda g, y, x, negative_slope: np.where(x > 0, g, negative_slope * g))
leaky_relu.formula(r"x \text{ where } x > 0\text{, else } negative_slope \cdot x")
leaky_relu.example(spaced(3, 4))
leaky_relu.example(spaced(3, 4), 0.2)


@primitive
@in_single
def elu(x, alpha=1.0):
    r"""x where x > 0, else :math:`α (e^x - 1)`, which keeps its digits near 0. The gradient at 0 is α.

    Example:
        >>> elu([1.0, 0.0, -1e-20])
        array([ 1.e+00,  0.e+00, -1.e-20])

    Source:
        Clevert et al., Fast and accurate deep network learning by exponential linear units, 2015, arXiv:1511.07289.
    """
    x = floating(x)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


elu.vjp(x=lambda g, y, x, alpha: np.where(x > 0, g, g * (alpha * np.exp(np.minimum(x, 0)))))
elu.formula(r"x \text{ where } x > 0\text{, else } alpha \cdot (e^{x} - 1)")
elu.example(spaced(3, 4))
elu.example(spaced(3, 4), 0.5)


@primitive
@in_single
def normal_cdf(x):
    """Φ(x) = ½ erfc(-x / √2), the chance that a standard normal number is below x; accurate in both tails.

    Example:
        >>> normal_cdf([0.0, -10.0])
        array([5.00000000e-01, 7.61985302e-24])
    """
    x = floating(x)
    wide = np.clip(x, -64, 64).astype(np.float64)
    z = wide * -math.sqrt(0.5)
    # In the tail erfc makes 2 z² times of what z was rounded by. So that is found, and erfc's slope times it is added.
    upper = (wide * _SPLIT) - (wide * _SPLIT - wide)  # the upper half of the digits of x
    lost = ((-upper * _ROOT_UPPER - z) - (wide - upper) * _ROOT_UPPER) - wide * _ROOT_LOWER
    erfc = np.asarray(np.frompyfunc(math.erfc, 1, 1)(z), np.float64)  # NumPy has no erfc of its own
    return (0.5 * erfc - lost * np.exp(-z * z) / math.sqrt(math.pi)).astype(x.dtype)


# √½ in two numbers, the upper one of 26 bits; and what cuts a float64 there (Dekker, 1971).
_ROOT_UPPER, _ROOT_LOWER, _SPLIT = 23726566 / 2**25, 1.210161710447897e-08, 2.0**27 + 1


normal_cdf.vjp(x=lambda g, y, x: g * _normal_density(x))
normal_cdf.formula(r"\Phi(x)", x=r"g \cdot \varphi(x)")
normal_cdf.example(normal(3, 4))


def _normal_density(x: Any) -> Any:
    # x² is a² + (x - a)(x + a): with a of few bits a² is exact, and nothing is rounded where exp would make much of it.
    x = np.clip(x, -64, 64)
    a = np.rint(x * 16) / 16
    return np.exp(-0.5 * (a * a)) * np.exp(-0.5 * ((x - a) * (x + a))) / math.sqrt(2 * math.pi)


@primitive
@in_single
def gelu(x, approximate="none"):
    """x Φ(x), with Φ the normal distribution; ``approximate="tanh"`` is PyTorch's quick form of it.

    Example:
        >>> gelu([0.0, 1.0])
        array([0.        , 0.84134475])

    Source:
        Hendrycks, Gimpel, Gaussian error linear units, 2016, arXiv:1606.08415.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate is {approximate!r}, expected 'none' or 'tanh'")
    x = floating(x)
    return np.multiply(x, _gelu_gate(x, approximate))


def _gelu_gate(x: Any, approximate: str) -> Any:
    # ½ (1 + tanh u) is σ(2u), which keeps its digits where tanh is close to -1.
    if approximate == "none":
        return normal_cdf(x)
    return sigmoid(math.sqrt(8 / math.pi) * np.multiply(x, 1 + 0.044715 * np.square(x)))


def _gelu_derivative(x: Any, approximate: str) -> Any:
    gate = _gelu_gate(x, approximate)
    if approximate == "none":
        return gate + x * _normal_density(x)
    return gate + x * gate * (1 - gate) * math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * x * x)


def _gelu_formula(x, approximate):
    if approximate == "none":
        return r"x \cdot \Phi(x)"
    return r"x \cdot \sigma(\sqrt{8/\pi} (x + 0.044715 x^3))"


def _gelu_gradient_formula(x, approximate):
    if approximate == "none":
        return r"g \cdot (\Phi(x) + x \varphi(x))"
    return r"g \cdot (\sigma + x \sigma (1 - \sigma) \sqrt{8/\pi} (1 + 0.134145 x^2))\text{, σ of the forward}"


gelu.vjp(x=lambda g, y, x, approximate: g * _gelu_derivative(x, approximate))
gelu.formula(_gelu_formula, x=_gelu_gradient_formula)
gelu.example(normal(3, 4))
gelu.example(normal(3, 4), "tanh")


@primitive
@in_single
def silu(x):
    """x σ(x).

    Example:
        >>> silu([0.0, 1.0])
        array([0.        , 0.73105858])

    Source:
        Elfwing, Uchibe, Doya, Sigmoid-weighted linear units, 2017, arXiv:1702.03118.
    """
    return np.multiply(x, sigmoid(x))


silu.vjp(x=lambda g, y, x: g * sigmoid(x) * (1 + x * sigmoid(-x)))
silu.formula(r"x \cdot \sigma(x)")
silu.example(normal(3, 4))


_WON = r"g \text{ where } %s\text{, } \frac{g}{2} \text{ in a tie, else } 0"


@primitive(forward=np.maximum)
def maximum(a, b):
    """The larger of a and b, elementwise. A tie gives each half of the gradient.

    Example:
        >>> maximum([1.0, -2.0], 0.0)
        array([1., 0.])
    """


maximum.vjp(a=lambda g, y, a, b: _share(g, a == b, a < b), b=lambda g, y, a, b: _share(g, a == b, b < a))
maximum.formula(r"\max(a, b)", a=_WON % "a > b", b=_WON % "b > a")
maximum.example(spaced(3, 4), spaced(4, offset=0.75))
maximum.example(fixed([1.0, 2.0, 3.0]), fixed([1.0, 0.0, 3.0]))


def _share(g: Any, tie: Any, lost: Any) -> Any:
    """g where the operand was taken, half of g in a tie, and 0 where it lost, even if g is nan there."""
    return np.where(lost, 0, np.where(tie, g * 0.5, g))


@primitive(forward=np.minimum)
def minimum(a, b):
    """The smaller of a and b, elementwise. A tie gives each half of the gradient.

    Example:
        >>> minimum([1.0, -2.0], 0.0)
        array([ 0., -2.])
    """


minimum.vjp(a=lambda g, y, a, b: _share(g, a == b, a > b), b=lambda g, y, a, b: _share(g, a == b, b > a))
minimum.formula(r"\min(a, b)", a=_WON % "a < b", b=_WON % "b < a")
minimum.example(spaced(3, 4), spaced(4, offset=0.75))
minimum.example(fixed([1.0, 2.0, 3.0]), fixed([1.0, 0.0, 3.0]))


@primitive
def clip(x, min=None, max=None):
    """x, but no less than min and no more than max. The gradient passes where x is within, bounds included.

    Example:
        >>> clip([1.0, -2.0, 0.5], 0.0, 0.7)
        array([0.7, 0. , 0.5])
    """
    return np.clip(x, min, max)


def _clip_formula(x, min, max):
    x = "x" if min is None else r"\max(x, min)"
    return x if max is None else rf"\min({x}, max)"


clip.vjp(x=lambda g, y, x, min, max: np.where(x == y, g, 0))
clip.formula(_clip_formula)
clip.example(spaced(3, 4), -2.0, 3.0)
clip.example(spaced(3, 4), max=1.0)


@primitive
def where(condition, a, b):
    """a where the condition holds, else b.

    Example:
        >>> where([True, False], [1.0, 2.0], 0.0)
        array([1., 0.])
    """
    return np.where(condition, a, b)


where.vjp(
    a=lambda g, y, condition, a, b: np.where(condition, g, 0), b=lambda g, y, condition, a, b: np.where(condition, 0, g)
)
where.formula(r"a \text{ where } condition\text{, else } b")
where.example(np.array([[True], [False], [True]]), normal(3, 4), normal(4))


@primitive
def astype(x, dtype):
    """x in another floating dtype. The gradient comes back in x's.

    Example:
        >>> astype(np.array([1.0, 2.0]), np.float32)
        array([1., 2.], dtype=float32)
    """
    if np.dtype(dtype).kind != "f":
        raise TypeError(f"astype: dtype is {np.dtype(dtype)}, expected a floating one; for others use x.numpy().astype")
    return np.asarray(x).astype(dtype)


astype.vjp(x=lambda g, y, x, dtype: g)
astype.formula(r"x \text{ as } dtype", x=r"g\text{, in the dtype of } x")
astype.example(normal(3, 4), np.float64)
