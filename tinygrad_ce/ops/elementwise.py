"""Elementwise operators. Where shapes differ they broadcast, and the reverse pass sums the gradient back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_ce.engine.primitive import primitive
from tinygrad_ce.engine.single import in_single
from tinygrad_ce.ops.composite import composite
from tinygrad_ce.ops.example import fixed, fractions, normal, spaced
from tinygrad_ce.ops.example import positive as above_zero

__all__ = [
    "abs", "add", "arcsinh", "arctan", "arctan2", "astype", "cbrt", "clip", "copy", "cos", "cosh", "divide", "elu",
    "exp", "exp2", "expm1", "gelu", "hypot", "leaky_relu", "log", "log1p", "log2", "log10", "logaddexp",
    "logsigmoid",
    "maximum", "minimum", "mod", "multiply", "negative", "normal_cdf", "positive", "power", "reciprocal", "relu",
    "sigmoid", "silu", "sin", "sinh", "softplus", "sqrt", "square", "subtract", "tan", "tanh", "where",
    "xlog1py", "xlogy",
]  # fmt: skip


def _elementary(forward: Any, rule: Any, formula: str, gradient: str = "", draw: Any = normal) -> Any:
    """A primitive of NumPy's function of one argument, in a row: its rule; its formula, and the gradient's where the
    rule doesn't read as one; and what numbers its example draws."""

    def made(function: Any) -> Any:
        operator = primitive(forward=forward)(function)
        operator.vjp(x=rule)
        operator.formula(formula, **({"x": gradient} if gradient else {}))
        operator.example(draw(3, 4))
        return operator

    return made


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


@primitive(forward=np.mod)
def mod(a, b):
    """What remains of a after division by b, elementwise; of b's sign. The gradient in b is minus the whole quotient.

    Example:
        >>> mod([5.5, -1.0], 2.0)
        array([1.5, 1. ])
    """


mod.vjp(a=lambda g, y, a, b: g, b=lambda g, y, a, b: -g * np.floor_divide(a, b))
mod.formula(r"a \text{ modulo } b", b=r"-g \cdot \text{the whole quotient of } a \text{ and } b")
mod.example(fixed([[5.5, -1.0], [3.25, 7.75]]), fixed([2.0, 1.5]))


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


@_elementary(np.negative, lambda g, y, x: -g, "-x")
def negative(x):
    """-x.

    Example:
        >>> negative([1.0, -2.0])
        array([-1.,  2.])
    """


@_elementary(np.positive, lambda g, y, x: g, "x")
def positive(x):
    """x, as a Tensor of its own.

    Example:
        >>> positive([1.0, -2.0])
        array([ 1., -2.])
    """


@_elementary(np.abs, lambda g, y, x: g * np.sign(x), "|x|", draw=spaced)
def abs(x):
    """The absolute value. The gradient at 0 is 0.

    Example:
        >>> abs([1.0, -2.0])
        array([1., 2.])
    """


@_elementary(np.square, lambda g, y, x: 2 * g * x, "x^2")
def square(x):
    """x².

    Example:
        >>> square([1.0, -2.0])
        array([1., 4.])
    """


@_elementary(np.sqrt, lambda g, y, x: g / (2 * y), r"\sqrt{x}", draw=above_zero)
def sqrt(x):
    """The square root. Its gradient at 0 is inf.

    Example:
        >>> sqrt([1.0, 4.0])
        array([1., 2.])
    """


@_elementary(np.cbrt, lambda g, y, x: g / (3 * y * y), "x^{1/3}", draw=spaced)
def cbrt(x):
    """The cube root, also of negative numbers. Its gradient at 0 is inf.

    Example:
        >>> cbrt([8.0, -1.0])
        array([ 2., -1.])
    """


@_elementary(np.reciprocal, lambda g, y, x: -g * y * y, r"\frac{1}{x}", draw=above_zero)
def reciprocal(x):
    """1 / x; of integers the whole part, as NumPy has it.

    Example:
        >>> reciprocal([1.0, -2.0])
        array([ 1. , -0.5])
    """


@_elementary(np.exp, lambda g, y, x: g * y, "e^{x}")
def exp(x):
    """e to the power of x.

    Example:
        >>> exp([0.0, 1.0])
        array([1.        , 2.71828183])
    """


@_elementary(np.exp2, lambda g, y, x: g * y * math.log(2), "2^{x}", r"g \cdot y \cdot \log 2")
def exp2(x):
    """2 to the power of x.

    Example:
        >>> exp2([0.0, 3.0])
        array([1., 8.])
    """


@_elementary(np.expm1, lambda g, y, x: g * np.exp(x), "e^{x} - 1")
def expm1(x):
    """exp(x) - 1, accurate near 0.

    Example:
        >>> expm1([0.0, 1e-20])
        array([0.e+00, 1.e-20])
    """


@_elementary(np.log, lambda g, y, x: g / x, r"\log x", draw=above_zero)
def log(x):
    """The natural logarithm.

    Example:
        >>> log([1.0, 2.0])
        array([0.        , 0.69314718])
    """


_LOG_RULE = r"\frac{g}{x \cdot \log %d}"


@_elementary(np.log2, lambda g, y, x: g / (x * math.log(2)), r"\mathrm{log2}(x)", _LOG_RULE % 2, above_zero)
def log2(x):
    """The logarithm to the base 2.

    Example:
        >>> log2([1.0, 8.0])
        array([0., 3.])
    """


@_elementary(np.log10, lambda g, y, x: g / (x * math.log(10)), r"\mathrm{log10}(x)", _LOG_RULE % 10, above_zero)
def log10(x):
    """The logarithm to the base 10.

    Example:
        >>> log10([1.0, 1000.0])
        array([0., 3.])
    """


@_elementary(np.log1p, lambda g, y, x: g / (1 + x), r"\log(1 + x)", draw=above_zero)
def log1p(x):
    """log(1 + x), accurate near 0.

    Example:
        >>> log1p([0.0, 1e-20])
        array([0.e+00, 1.e-20])
    """


@_elementary(np.sin, lambda g, y, x: g * np.cos(x), r"\sin x")
def sin(x):
    """The sine of x in radians.

    Example:
        >>> sin([0.0, 1.0])
        array([0.        , 0.84147098])
    """


@_elementary(np.cos, lambda g, y, x: -g * np.sin(x), r"\cos x")
def cos(x):
    """The cosine of x in radians.

    Example:
        >>> cos([0.0, 1.0])
        array([1.        , 0.54030231])
    """


@primitive(forward=np.hypot)
def hypot(a, b):
    """The square root of a² + b², elementwise, without overflow. Where it is 0 so is the gradient.

    Example:
        >>> hypot([3.0, 3e200], [4.0, 4e200])
        array([5.e+000, 5.e+200])
    """


hypot.vjp(a=lambda g, y, a, b: g * (a / nonzero(y)), b=lambda g, y, a, b: g * (b / nonzero(y)))
hypot.formula(r"\sqrt{a^2 + b^2}", a=r"g \cdot \frac{a}{y}", b=r"g \cdot \frac{b}{y}")
hypot.example(normal(3, 4), normal(4))


def nonzero(y: Any) -> Any:
    """A divisor: 1 in the place of 0."""
    return np.where(y == 0, 1, y)


@primitive(forward=np.arctan2)
def arctan2(a, b):
    """The angle of the point (b, a) from the first axis, from -π to π. The gradient at the origin is 0.

    Example:
        >>> arctan2([0.0, 1.0, 0.0], [1.0, 0.0, -1.0])
        array([0.        , 1.57079633, 3.14159265])
    """


def _turned(g, side, a, b):
    r = nonzero(hypot(a, b))
    return g * (side / r) / r  # r² could overflow


arctan2.vjp(a=lambda g, y, a, b: _turned(g, b, a, b), b=lambda g, y, a, b: -_turned(g, a, a, b))
arctan2.formula(r"\text{the angle of } (b, a)", a=r"g \cdot \frac{b}{a^2 + b^2}", b=r"-g \cdot \frac{a}{a^2 + b^2}")
arctan2.example(spaced(3, 4), spaced(4, offset=0.75))


@_elementary(np.tan, lambda g, y, x: g * (1 + y * y), r"\tan x", draw=fractions)
def tan(x):
    """The tangent of x in radians.

    Example:
        >>> tan([0.0, 1.0])
        array([0.        , 1.55740772])
    """


@_elementary(np.arctan, lambda g, y, x: _turned(g, 1, x, 1), r"\arctan x", r"\frac{g}{1 + x^2}")
def arctan(x):
    """The inverse of the tangent, from -π/2 to π/2.

    Example:
        >>> arctan([0.0, 1.0])
        array([0.        , 0.78539816])
    """


@_elementary(np.sinh, lambda g, y, x: g * np.cosh(x), r"\sinh x")
def sinh(x):
    """The hyperbolic sine.

    Example:
        >>> sinh([0.0, 1.0])
        array([0.        , 1.17520119])
    """


@_elementary(np.cosh, lambda g, y, x: g * np.sinh(x), r"\cosh x")
def cosh(x):
    """The hyperbolic cosine.

    Example:
        >>> cosh([0.0, 1.0])
        array([1.        , 1.54308063])
    """


@_elementary(np.tanh, lambda g, y, x: g * (1 - y * y), r"\tanh x")
def tanh(x):
    """The hyperbolic tangent.

    Example:
        >>> tanh([0.0, 1.0])
        array([0.        , 0.76159416])
    """


@_elementary(np.arcsinh, lambda g, y, x: g / hypot(x, 1), r"\mathrm{arcsinh}(x)", r"\frac{g}{\sqrt{1 + x^2}}")
def arcsinh(x):
    """The inverse of the hyperbolic sine.

    Example:
        >>> arcsinh([0.0, 1e200])
        array([  0.        , 461.21016578])
    """


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


@primitive(forward=np.logaddexp)
def logaddexp(a, b):
    """log(exp(a) + exp(b)), elementwise, without overflow. Where both are -inf the gradients are 0.

    Example:
        >>> logaddexp([0.0, 1000.0], [0.0, 1000.0])
        array([6.93147181e-01, 1.00069315e+03])
    """


def _ahead(a, b, y):
    """a - b; -inf where both are, for which the least number of y's dtype stands in."""
    return a - np.maximum(b, np.finfo(y.dtype).min)


logaddexp.vjp(a=lambda g, y, a, b: g * sigmoid(_ahead(a, b, y)), b=lambda g, y, a, b: g * sigmoid(_ahead(b, a, y)))
logaddexp.formula(r"\log(e^{a} + e^{b})", a=r"g \cdot \sigma(a - b)", b=r"g \cdot \sigma(b - a)")
logaddexp.example(normal(3, 4), normal(4))


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


@_elementary(np.copy, lambda g, y, x: g, "x")
def copy(x):
    """The same numbers in an array of their own.

    Example:
        >>> copy([1.0, 2.0])
        array([1., 2.])
    """


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
