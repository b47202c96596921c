"""A generated call of every operator: shapes of 0 to 4 axes, size zero too, axes, options, dtypes and layouts."""

import math
import string
from collections.abc import Callable
from typing import Any, NamedTuple

import definitions
import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

FLOATS = (np.float64, np.float32, np.float16)
REDUCTIONS = ("mean", "sum", "none")


class Call(NamedTuple):
    """The arguments of a call: float arrays are operands; all else, lists of numbers included, is constant."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


# What numbers an operand holds: of a generator, a shape, and the operand's place among the arguments


def anywhere(rng, shape, place):
    return rng.uniform(-2, 2, shape)


def positive(rng, shape, place):
    return rng.uniform(0.5, 2, shape)


def fractions(rng, shape, place):
    return rng.uniform(0.1, 0.9, shape)


def spaced(rng, shape, place):
    """No two numbers of any operands are closer than a half, and none is closer to 0 than a quarter."""
    size = int(np.prod(shape))
    return (rng.permutation(size) - size // 2 + (0.25, 0.75)[place % 2]).reshape(shape)


def factors(rng, shape, place):
    """Numbers around ±1, and zeros."""
    return rng.uniform(0.8, 1.25, shape) * rng.choice([1.0, -1.0, 0.0], shape, p=[0.5, 0.4, 0.1])


def with_zeros(rng, shape, place):
    return rng.uniform(-2, 2, shape) * rng.choice([1.0, 0.0], shape, p=[0.8, 0.2])


def special(rng, shape, place):
    return rng.choice([np.inf, -np.inf, np.nan, -0.0, 0.0, 1.0, -1.5, 800.0, -800.0, 1e-6], shape)


def by_place(*domains):
    return lambda rng, shape, place: domains[place](rng, shape, place)


def dividend(rng, shape, place):
    """Numbers whose quotient by any of the divisors has the whole part 2."""
    return rng.uniform(2.1, 2.9, shape)


def divisor(rng, shape, place):
    return rng.uniform(0.98, 1.02, shape)


# How an operand lies in memory


def every_other(x):
    wide = np.zeros([2 * n for n in x.shape], x.dtype)
    wide[(slice(None, None, 2),) * x.ndim] = x
    return wide[(slice(None, None, 2),) * x.ndim]


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = {
    "C": lambda x: x,
    "Fortran": lambda x: x.copy(order="F"),
    "backwards": lambda x: np.flip(np.flip(x).copy()),
    "every other": every_other,
    "read-only": read_only,
    "repeated": lambda x: np.broadcast_to(x[:1], x.shape) if len(x) else x,  # strides of 0, and ties
}


class Numbers:
    """Draws the operands of one call; what is given in place of a domain and the rest says of which kind."""

    def __init__(self, draw: Any, domain: Any, dtypes: Any = FLOATS, layouts: Any = tuple(LAYOUTS)) -> None:
        self.draw, self.domain, self.dtypes, self.layouts = draw, domain, dtypes, layouts

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.draw(st.integers(0, 999)))

    def __call__(self, shape: tuple[int, ...], place: int = 0) -> np.ndarray:
        return self.laid(self.domain(self.rng(), shape, place))

    def laid(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, self.draw(st.sampled_from(self.dtypes)))
        return LAYOUTS[self.draw(st.sampled_from(self.layouts))](x) if x.ndim else x


# Parts of calls


LENGTH = st.sampled_from([2, 1, 3, 2, 4, 1, 3, 0])


def shape(draw, least=0, most=4):
    count = draw(st.sampled_from([n for n in (1, 2, 3, 0, 4) if least <= n <= most]))
    shortest = draw(st.sampled_from([1, 1, 0]))
    return tuple(draw(st.integers(shortest, 3 if count > 2 else 4)) for _ in range(count))


def shapes(draw, count, **options):
    shortest = draw(st.sampled_from([1, 1, 0]))
    options = {"min_dims": 0, "max_dims": 4, "min_side": shortest, "max_side": 3, **options}
    return draw(hnp.mutually_broadcastable_shapes(num_shapes=count, **options)).input_shapes


def one_axis(draw, ndim):
    return draw(st.integers(-ndim, ndim - 1) if ndim else st.sampled_from([0, -1]))


def axes(draw, ndim):
    """None, an axis or a tuple of them."""
    kind = draw(st.sampled_from(["none", "one", "tuple"]))
    if kind == "one" and ndim:
        return one_axis(draw, ndim)
    return None if kind != "tuple" else draw(hnp.valid_tuple_axes(ndim))


def some(draw, **options):
    """Some of these options, each one of its values."""
    drawn = {name: draw(st.sampled_from([None, *values])) for name, values in options.items()}
    return {name: value for name, value in drawn.items() if value is not None}


def mask(draw, numbers, size, axis):
    """A mask that broadcasts to a shape, and leaves the first number of every row along an axis."""
    axes = range(len(size)) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, len(size))
    size = tuple(n if draw(st.integers(0, 3)) else min(n, 1) for n in size)
    found = np.asarray(numbers.rng().random(size) < 0.6)
    found[tuple(slice(0, 1) if i in axes else slice(None) for i in range(len(size)))] = True
    return found[0] if size[:1] == (1,) and draw(st.booleans()) else found


# Calls by kind of operator: functions of draw and numbers


def elementwise(count, **options):
    def call(draw, numbers):
        args = [numbers(size, i) for i, size in enumerate(shapes(draw, count))]
        if count > 1 and draw(st.integers(0, 3)) == 3:
            i = draw(st.integers(0, count - 1))
            args[i] = float(numbers((), i))
        return Call(tuple(args), some(draw, **options))

    return call


def power_call(draw, numbers):
    if draw(st.booleans()):
        return elementwise(2)(draw, numbers)
    return Call((numbers.laid(spaced(numbers.rng(), shape(draw), 0) / 4), draw(st.integers(-2, 4))), {})


def where_call(draw, numbers):
    first, *rest = shapes(draw, 3)
    args = [numbers(size, i) for i, size in enumerate(rest)]
    if draw(st.integers(0, 3)) == 3:
        args[draw(st.integers(0, 1))] = draw(st.sampled_from([0.0, 1.5, 2]))
    return Call((numbers.rng().random(first) < 0.5, *args), {})


def clip_call(draw, numbers):
    size = shape(draw)
    bound = [None, 0.5, 2, -1.0, [0.0] * size[-1] if size else 1.0]
    low, high = draw(st.sampled_from(bound)), draw(st.sampled_from(bound))
    return Call((numbers(size), -1.5 if low is high is None else low, high), {})


def astype_call(draw, numbers):
    return Call((numbers(shape(draw)), draw(st.sampled_from(FLOATS))), {})


def reduction(masked=False, single=False, **options):
    def call(draw, numbers):
        size = shape(draw)
        kwargs = some(draw, keepdims=[True, False], **options)
        axis = axes(draw, len(size))
        if masked and draw(st.booleans()):
            kwargs["where"] = mask(draw, numbers, size, axis)
        if single and not size and draw(st.booleans()):
            axis = draw(st.sampled_from([0, -1]))  # NumPy takes these of a single number
        return Call((numbers(size), axis), kwargs)

    return call


def along_axis(none=False, masked=False):
    def call(draw, numbers):
        size = shape(draw, least=1)
        axis = axes(draw, len(size)) if none and draw(st.booleans()) else one_axis(draw, len(size))
        kwargs = {"where": mask(draw, numbers, size, axis)} if masked and draw(st.booleans()) else {}
        return Call((numbers(size), axis), kwargs)

    return call


def cumsum_call(draw, numbers):
    size = shape(draw)
    return Call((numbers(size), None if draw(st.booleans()) else one_axis(draw, len(size))), {})


def mass_call(draw, numbers):
    size = shape(draw, least=1)
    axis = axes(draw, len(size))
    where = mask(draw, numbers, size, axis) if draw(st.booleans()) else None
    return Call((numbers(size), numbers(size, 1), axis, where), {})


# Losses


def rows_of_classes(draw):
    """A shape of logits, and the class axis as given and as counted from 0."""
    size = list(shape(draw, least=1, most=3))
    axis = draw(st.sampled_from([None, *range(-len(size), len(size))]))
    place = min(1, len(size) - 1) if axis is None else axis % len(size)
    size[place] = draw(st.integers(1, 4))
    return tuple(size), axis, place


def labels(draw, numbers, size, place, ignore=None):
    """Class indices of rows; some are to be ignored, if that is possible."""
    rows = size[:place] + size[place + 1 :]
    index = numbers.rng().integers(0, size[place], rows)
    kind = draw(st.sampled_from([np.int64, np.int32, np.uint8]))
    if ignore is not None and draw(st.booleans()):
        index, kind = np.where(numbers.rng().random(rows) < 0.3, ignore, index), np.int64
    index = np.asarray(index, kind)
    return index.tolist() if index.size and draw(st.integers(0, 4)) == 4 else index


def class_weight(draw, numbers, classes):
    return numbers.rng().choice([0.5, 1.0, 2.0], classes).tolist() if draw(st.booleans()) else None


def index_loss(soft=False, ignored=True, weighted=True, **options):
    def call(draw, numbers):
        size, axis, place = rows_of_classes(draw)
        kwargs = some(draw, reduction=REDUCTIONS, **options)
        kwargs |= {} if axis is None else {"axis": axis}
        if weighted:
            kwargs["weight"] = class_weight(draw, numbers, size[place])
        if soft and draw(st.booleans()):
            return Call((numbers(size), numbers(size, 1)), kwargs)
        ignore = draw(st.sampled_from([-100, -1, 0])) if ignored else None
        kwargs |= {"ignore_index": ignore} if ignored else {}
        return Call((numbers(size), labels(draw, numbers, size, place, ignore)), kwargs)

    return call


def slope_call(draw, numbers):
    (x, target), options = index_loss(soft=True, label_smoothing=[0.1])(draw, numbers)
    names = {"axis": None, "weight": None, "ignore_index": -100, "reduction": "mean", "label_smoothing": 0.0}
    return Call((x, target, *({**names, **options}[name] for name in names)), {})


def categorical_call(draw, numbers):
    size, axis, place = rows_of_classes(draw)
    if axis is None:
        axis, place, size = -1, len(size) - 1, (*size[:-1], max(size[-1], 1))
    p = numbers.domain(numbers.rng(), size, 0)
    p = numbers.laid(p / p.sum(axis=place, keepdims=True))
    target = numbers(size, 1) if draw(st.booleans()) else labels(draw, numbers, size, place)
    return Call((p, target), {"axis": axis, **some(draw, reduction=REDUCTIONS)})


def kl_call(draw, numbers):
    size = shape(draw)
    kwargs = some(draw, reduction=[*REDUCTIONS, "batchmean"], log_target=[True, False])
    return Call((numbers(size), numbers(size, 1)), kwargs)


def distance(**options):
    def call(draw, numbers):
        size = shape(draw)
        return Call((numbers(size), numbers(size, 1)), some(draw, reduction=REDUCTIONS, **options))

    return call


def z_call(draw, numbers):
    size, axis, _ = rows_of_classes(draw)
    return Call((numbers(size),), {"axis": axis, **some(draw, reduction=REDUCTIONS)})


def yes_or_no(*factors):
    def call(draw, numbers):
        size = shape(draw)
        factor = [2.0, numbers.rng().uniform(0.5, 2, size[-1:]).tolist()]
        kwargs = some(draw, reduction=REDUCTIONS, **dict.fromkeys(factors, factor))
        return Call((numbers(size), numbers(size, 1)), kwargs)

    return call


def linear_loss(blocked):
    def call(draw, numbers):
        *rows, features = shape(draw, least=1, most=3)
        classes = draw(st.integers(1, 4))
        size = (*rows, classes)
        options = {"weight": class_weight(draw, numbers, classes), "ignore_index": -100, "reduction": "mean"}
        options |= {"label_smoothing": 0.0} | some(draw, reduction=REDUCTIONS, label_smoothing=[0.1])
        soft = draw(st.booleans())
        target = numbers(size, 1) if soft else labels(draw, numbers, size, len(rows), -100)
        bias = numbers((classes,)) if draw(st.booleans()) else None
        x, weight = numbers((*rows, features)), numbers((classes, features))
        if blocked:
            return Call((x, weight, target, bias, *options.values(), None), {})
        return Call((x, weight, target), {"linear_bias": bias, **options})

    return call


def gumbel_call(draw, numbers):
    size = shape(draw, least=1)
    kwargs = {"axis": one_axis(draw, len(size)), "rng": draw(st.integers(0, 9))}
    return Call((numbers(size), draw(st.sampled_from([1.0, 0.5, 3]))), kwargs)


# Shapes and pieces


def reshape_call(draw, numbers):
    size = shape(draw)
    new = list(draw(st.permutations(size)))
    if len(new) > 1 and draw(st.booleans()):
        new[:2] = [new[0] * new[1]]
    if draw(st.booleans()):
        new.insert(draw(st.integers(0, len(new))), 1)
    if new and all(new) and draw(st.booleans()):
        new[draw(st.integers(0, len(new) - 1))] = -1
    new = tuple(new) if len(new) != 1 or draw(st.booleans()) else new[0]
    return Call((numbers(size), new), some(draw, order=["C", "F"]))


def transpose_call(draw, numbers):
    size = shape(draw)
    order = [i - len(size) * draw(st.booleans()) for i in draw(st.permutations(range(len(size))))]
    return Call((numbers(size), draw(st.sampled_from([None, tuple(order), *(order if len(size) == 1 else ())]))), {})


def swapaxes_call(draw, numbers):
    size = shape(draw)
    return Call((numbers(size), one_axis(draw, len(size)), one_axis(draw, len(size))), {})


def squeeze_call(draw, numbers):
    size = [n if draw(st.booleans()) else 1 for n in shape(draw)]
    ones = [i - len(size) * draw(st.booleans()) for i, n in enumerate(size) if n == 1]
    return Call((numbers(tuple(size)), draw(st.sampled_from([None, tuple(ones), *ones]))), {})


def expand_dims_call(draw, numbers):
    size = shape(draw, most=3)
    more = draw(st.integers(1, 2))
    new = draw(hnp.valid_tuple_axes(len(size) + more, min_size=more, max_size=more))
    return Call((numbers(size), new if more > 1 or draw(st.booleans()) else draw(st.integers(-1, 0))), {})


def broadcast_call(draw, numbers):
    size = shape(draw, most=3)
    wide = [draw(st.integers(0, 3)) if n == 1 else n for n in size]
    return Call((numbers(size), (*shape(draw, most=1), *wide)), {})


def joined(draw, numbers):
    """Arrays that differ along one axis alone, and that axis."""
    size = shape(draw, least=1, most=3)
    axis = one_axis(draw, len(size))
    arrays = []
    for _ in range(draw(st.integers(1, 3))):
        part = list(size)
        part[axis] = draw(st.integers(0, 3))
        arrays.append(numbers(tuple(part)))
    return arrays, axis


def join_call(draw, numbers):
    arrays, axis = joined(draw, numbers)
    return Call((axis, *arrays), {})


def concatenate_call(draw, numbers):
    if draw(st.booleans()):
        return Call((*joined(draw, numbers),), {})
    return Call(([numbers(shape(draw, most=2)) for _ in range(draw(st.integers(1, 3)))], None), {})


def stack_call(draw, numbers):
    size = shape(draw, most=3)
    arrays = tuple(numbers(size) for _ in range(draw(st.integers(1, 3))))
    return Call((arrays, draw(st.integers(-len(size) - 1, len(size)))), {})


def split_call(draw, numbers):
    size = shape(draw, least=1)
    axis = one_axis(draw, len(size))
    sections = st.sampled_from([k for k in range(1, 5) if size[axis] % k == 0])
    cuts = st.lists(st.integers(-1, size[axis] + 1), max_size=3)
    return Call((numbers(size), draw(sections | cuts), axis), {})


def pad_call(draw, numbers):
    size = shape(draw, most=3)
    width = draw(st.sampled_from([1, (0, 2), None]))
    if width is None:
        width = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in size)
    mode = draw(st.sampled_from(["constant", "edge", "reflect", "symmetric", "wrap"]))
    return Call((numbers(size), width, mode), some(draw, constant_values=[0.5]) if mode == "constant" else {})


def flip_call(draw, numbers):
    size = shape(draw)
    return Call((numbers(size), axes(draw, len(size))), {})


def ravel_call(draw, numbers):
    return Call((numbers(shape(draw)),), some(draw, order=["C", "F"]))


def repeat_call(draw, numbers):
    size = shape(draw)
    axis = one_axis(draw, len(size)) if size and draw(st.booleans()) else None
    count = int(np.prod(size)) if axis is None else size[axis]
    each = numbers.rng().integers(0, 3, count).tolist()
    return Call((numbers(size), draw(st.sampled_from([2, 0, 1, each])), axis), {})


def tile_call(draw, numbers):
    reps = draw(st.sampled_from([2, 0, (2,), (1, 2), (2, 1, 3), ()]))
    return Call((numbers(shape(draw, most=3)), reps), {})


def roll_call(draw, numbers):
    size = shape(draw)
    if size and draw(st.booleans()):
        return Call((numbers(size), draw(st.integers(-5, 5)), one_axis(draw, len(size))), {})
    if len(size) > 1 and draw(st.booleans()):
        return Call((numbers(size), (1, -2), (0, -1)), {})
    return Call((numbers(size), draw(st.integers(-5, 5))), {})


def moveaxis_call(draw, numbers):
    size = shape(draw, least=1)
    if len(size) > 1 and draw(st.booleans()):
        return Call((numbers(size), [0, -1], draw(st.sampled_from([[-1, 0], [1, 0], [0, 1]]))), {})
    return Call((numbers(size), one_axis(draw, len(size)), one_axis(draw, len(size))), {})


def whole_array(least):
    return lambda draw, numbers: Call((numbers(shape(draw, least=least)),), {})


def append_call(draw, numbers):
    if draw(st.booleans()):
        return Call((numbers(shape(draw, most=2)), numbers(shape(draw, most=2))), {})
    arrays, axis = joined(draw, numbers)
    return Call((arrays[0], arrays[-1], axis), {})


def stacked_call(places):
    """Arrays of one axis or two that agree but for the axis along which they are stacked."""

    def call(draw, numbers):
        size, along = [draw(LENGTH), draw(LENGTH)], draw(st.integers(1, 3))
        arrays = []
        for _ in range(along):
            part = list(size)
            part[places] = draw(st.integers(0, 3))
            arrays.append(numbers(tuple(part)))
        if draw(st.booleans()):  # a row for vstack, a column for the others
            arrays.append(numbers((size[1 - places],)))
        return Call((arrays,), {})

    return call


def hstack_call(draw, numbers):
    if draw(st.booleans()):
        return Call(([numbers(shape(draw, most=1)) for _ in range(draw(st.integers(1, 3)))],), {})
    size = shape(draw, least=2, most=3)
    arrays = [numbers((size[0], draw(st.integers(0, 3)), *size[2:])) for _ in range(draw(st.integers(1, 3)))]
    return Call((arrays,), {})


def diag_call(draw, numbers):
    return Call((numbers(shape(draw, least=1, most=2)), draw(st.integers(-2, 2))), {})


def diagonal_call(draw, numbers):
    size = shape(draw, least=2)
    first, second = draw(st.permutations(range(len(size))))[:2]
    return Call((numbers(size), draw(st.integers(-2, 2)), first, second - len(size)), {})


def triangle_call(draw, numbers):
    return Call((numbers(shape(draw, least=1)), draw(st.integers(-2, 2))), {})


def take_call(draw, numbers):
    size = shape(draw, least=1)
    axis = draw(st.sampled_from([None, *range(-len(size), len(size))]))
    count = int(np.prod(size)) if axis is None else size[axis]
    picked = shape(draw, most=2) if count else (0,)
    indices = numbers.rng().integers(-count, max(count, 1), picked) if count else np.zeros(picked, int)
    indices = indices.tolist() if indices.size and draw(st.booleans()) else indices
    mode = draw(st.sampled_from(["raise", "wrap", "clip"])) if count else "raise"
    if mode != "raise":
        indices = np.asarray(indices) * 3
    return Call((numbers(size), indices), {**({} if axis is None else {"axis": axis}), "mode": mode})


def embedding_call(draw, numbers):
    rows = draw(LENGTH)
    picked = shape(draw, most=3) if rows else (0, 2)
    indices = numbers.rng().integers(0, max(rows, 1), picked).astype(draw(st.sampled_from([np.int64, np.uint8])))
    return Call((indices.tolist() if draw(st.booleans()) else indices, numbers((rows, draw(LENGTH)))), {})


def an_index(draw, numbers, size):
    """Anything that indexes an array of a shape."""
    kind = draw(st.sampled_from(["basic", "arrays", "mask", "mixed"]))
    if kind == "basic" or not size or not all(size):
        return draw(hnp.basic_indices(size, allow_newaxis=True))
    if kind == "arrays":
        return draw(hnp.integer_array_indices(size, result_shape=hnp.array_shapes(max_dims=2, max_side=3)))
    if kind == "mask":
        return numbers.rng().random(size[: draw(st.integers(1, len(size)))]) < 0.5
    parts = [draw(st.sampled_from([slice(None), slice(None, None, -2), 0, -1, [0, -1, 0]])) for _ in size]
    return (*parts[: draw(st.integers(0, len(size)))], ...)


def getitem_call(draw, numbers):
    size = shape(draw)
    return Call((numbers(size), an_index(draw, numbers, size)), {})


def scatter_call(draw, numbers):
    size = shape(draw)
    index = an_index(draw, numbers, size)
    return Call((numbers(np.zeros(size)[index].shape), index, size), {})


# Products and images


def matmul_call(draw, numbers):
    stacks = draw(hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, max_side=3))
    return Call(tuple(numbers(size) for size in stacks.input_shapes), {})


def pair_of(call):
    """A call of two operands, or one where either is a single number."""

    def either(draw, numbers):
        if draw(st.integers(0, 3)) < 3:
            return call(draw, numbers)
        sizes = draw(st.permutations([(), shape(draw, most=2)]))
        return Call((numbers(sizes[0]), numbers(sizes[1])), {})

    return either


def inner_call(draw, numbers):
    k = draw(LENGTH)
    return Call((numbers((*shape(draw, most=2), k)), numbers((*shape(draw, most=2), k))), {})


def vdot_call(draw, numbers):
    size = shape(draw)
    return Call((numbers(size), numbers((int(np.prod(size)),))), {})


def tensordot_call(draw, numbers):
    size, more = shape(draw, most=2), shape(draw, most=1)
    if draw(st.booleans()):
        return Call((numbers((*more, *size)), numbers((*size, *shape(draw, most=1)))), {"axes": len(size)})
    left = list(range(-1, -len(size) - 1, -1))  # the last of a, backwards, and the first of b
    axes = (left, list(range(len(size)))) if size else ([], [])
    return Call((numbers((*more, *reversed(size))), numbers((*size, *shape(draw, most=1)))), {"axes": axes})


def average_call(draw, numbers):
    (x, axis), kwargs = reduction()(draw, numbers)
    kind = draw(st.sampled_from(["none", "all", "axis"]))
    axes = range(x.ndim) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, x.ndim)
    if kind == "all":
        kwargs["weights"] = numbers.laid(positive(numbers.rng(), x.shape, 1))
    elif kind == "axis" and axis is not None:
        kwargs["weights"] = numbers.laid(positive(numbers.rng(), tuple(x.shape[i] for i in axes), 1))
    return Call((x, axis), kwargs)


def norm_call(draw, numbers):
    size = shape(draw)
    kwargs = some(draw, keepdims=[True, False])
    orders = [None, 1, 2, 3.5, np.inf, -np.inf, 0]
    if len(size) > 1 and draw(st.booleans()):
        axis, orders = (0, -1), [None, "fro", 1, -1, np.inf, -np.inf]
    elif size and draw(st.booleans()):
        axis = one_axis(draw, len(size))
    else:
        axis, orders = None, [None]
    return Call((numbers(size), draw(st.sampled_from(orders)), axis), kwargs)


def dot_call(draw, numbers):
    *rows, k = shape(draw, least=1, most=3)
    if draw(st.booleans()):
        return Call((numbers((*rows, k)), numbers((*shape(draw, least=1, most=1), k, draw(LENGTH)))), {})
    return Call((numbers((*rows, k)), numbers((k, *shape(draw, most=1)))), {})


def outer_call(draw, numbers):
    return Call((numbers(shape(draw, most=2)), numbers(shape(draw, most=2))), {})


def linear_call(draw, numbers):
    *rows, features = shape(draw, least=1, most=3)
    out = draw(st.integers(0, 3))
    bias = numbers((out,)) if draw(st.booleans()) else None
    return Call((numbers((*rows, features)), numbers((out, features)), bias), {})


def einsum_call(draw, numbers):
    lengths = dict(zip("abC", shape(draw, least=3, most=3), strict=True))
    around = shape(draw, least=2, most=2) if draw(st.booleans()) else ()
    terms, operands = [], []
    for _ in range(draw(st.sampled_from([2, 1, 3]))):
        letters = [draw(st.sampled_from(sorted(lengths))) for _ in range(draw(st.sampled_from([2, 1, 0, 3])))]
        size = [lengths[c] if letters.count(c) > 1 or draw(st.integers(0, 2)) else 1 for c in letters]
        if around:
            place, more = draw(st.integers(0, len(letters))), around[draw(st.integers(0, 2)) :]
            size[place:place] = [n if draw(st.integers(0, 2)) else 1 for n in more]
            letters.insert(place, "...")
        terms.append("".join(letters))
        operands.append(numbers(tuple(size)))
    subscripts = draw(st.sampled_from([",", ", "])).join(terms)
    if draw(st.booleans()):
        used = sorted(set(subscripts) & set(string.ascii_letters))
        result = draw(st.lists(st.sampled_from(used), unique=True)) if used else []
        result += ["..."] if "..." in subscripts else []
        subscripts += "->" + "".join(draw(st.permutations(result)))
    return Call((subscripts, *operands), {})


def image_options(draw, **options):
    return some(draw, **{name: [low, low + 1, (low, low + 1)] for name, low in options.items()})


def images(draw):
    few = st.sampled_from([1, 2, 1, 2, 0])
    return (draw(few), draw(few), draw(st.integers(2, 4)), draw(st.integers(2, 4)))


def unfold_call(draw, numbers):
    window = draw(st.sampled_from([1, 2, (2, 1)]))
    return Call((numbers(images(draw)), window), image_options(draw, stride=1, padding=0))


def fold_call(draw, numbers):
    (x, window), options = unfold_call(draw, numbers)
    columns = definitions.unfold(np.zeros(x.shape), window, **options)
    return Call((numbers(columns.shape), x.shape[2:], window), options)


def conv_call(draw, numbers):
    x = images(draw)
    weight = (draw(st.sampled_from([1, 2, 3, 0])), x[1], draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    bias = numbers(weight[:1]) if draw(st.booleans()) else None
    return Call((numbers(x), numbers(weight), bias), image_options(draw, stride=1, padding=0))


def _places(options):
    """Stride and padding, which the gradients of a convolution are given by position."""
    return options.get("stride", 1), options.get("padding", 0)


def conv_images_call(draw, numbers):
    (x, weight, _), options = conv_call(draw, numbers)
    y = definitions.conv2d(np.zeros(x.shape), np.zeros(weight.shape), **options)
    return Call((numbers(y.shape), weight, x.shape[2:], *_places(options)), {})


def conv_kernels_call(draw, numbers):
    (x, weight, _), options = conv_call(draw, numbers)
    y = definitions.conv2d(np.zeros(x.shape), np.zeros(weight.shape), **options)
    return Call((numbers(y.shape), x, weight.shape[2:], *_places(options)), {})


def unpool_call(draw, numbers):
    (x, window), options = pool_call(draw, numbers)
    stride = options.get("stride", window)
    y = definitions.max_pool2d(np.zeros(x.shape), window, stride)
    count = math.prod(definitions.pair(window))
    hits = np.arange(count).reshape(-1, 1, 1, 1, 1) == np.arange(y.size).reshape(y.shape) % count
    return Call((numbers(y.shape), hits, x.shape[2:], window, stride), {})


def pool_call(draw, numbers):
    return Call((numbers(images(draw)), draw(st.sampled_from([1, 2, (2, 1)]))), image_options(draw, stride=1))


class Operator(NamedTuple):
    """How an operator is checked."""

    definition: Callable[..., Any]  # of plain arrays, with the operator's signature
    call: Callable[..., Call]
    domain: Callable[..., Any] = anywhere
    analytic: bool = True  # whether the definition takes complex numbers: its slopes are then exact
    mixed: bool = True  # whether operands may differ in dtype
    dtypes: tuple[Any, ...] = FLOATS
    layouts: tuple[str, ...] = tuple(LAYOUTS)


DISTINCT = tuple(name for name in LAYOUTS if name != "repeated")


def kinked(definition, call):
    return Operator(definition, call, spaced, analytic=False, layouts=DISTINCT)


def kinked_loss(definition, call):
    return Operator(definition, call, spaced, analytic=False, mixed=False, layouts=DISTINCT)


def loss(definition, call, *domains):
    return Operator(definition, call, by_place(*(domains or (anywhere, positive))), mixed=False)


one, two = elementwise(1), elementwise(2)


def spread(draw, numbers):
    return reduction(**{draw(st.sampled_from(["ddof", "correction"])): [0, 1]})(draw, numbers)


d = definitions
OPERATORS = {
    "add": Operator(np.add, two),
    "subtract": Operator(np.subtract, two),
    "multiply": Operator(np.multiply, two),
    "divide": Operator(np.divide, two, by_place(anywhere, positive)),
    "power": Operator(np.power, power_call, by_place(positive, anywhere)),
    "negative": Operator(np.negative, one),
    "positive": Operator(np.positive, one),
    "abs": kinked(np.abs, one),
    "square": Operator(np.square, one),
    "sqrt": Operator(np.sqrt, one, positive),
    "exp": Operator(np.exp, one),
    "expm1": Operator(np.expm1, one),
    "log": Operator(np.log, one, positive),
    "log1p": Operator(np.log1p, one, positive),
    "cbrt": Operator(np.cbrt, one, positive, analytic=False),
    "reciprocal": Operator(np.reciprocal, one, positive),
    "exp2": Operator(np.exp2, one),
    "log2": Operator(np.log2, one, positive),
    "log10": Operator(np.log10, one, positive),
    "tan": Operator(np.tan, one, fractions),
    "arctan": Operator(np.arctan, one),
    "arctan2": kinked(np.arctan2, two),
    "hypot": kinked(np.hypot, two),
    "sinh": Operator(np.sinh, one),
    "cosh": Operator(np.cosh, one),
    "arcsinh": Operator(np.arcsinh, one),
    "logaddexp": Operator(np.logaddexp, two, analytic=False),
    "mod": Operator(np.mod, two, by_place(dividend, divisor), analytic=False),
    "copy": Operator(np.copy, one),
    "sin": Operator(np.sin, one),
    "cos": Operator(np.cos, one),
    "tanh": Operator(np.tanh, one),
    "sigmoid": Operator(d.sigmoid, one),
    "softplus": Operator(d.softplus, one),
    "logsigmoid": Operator(d.logsigmoid, one),
    "xlogy": Operator(d.xlogy, two, by_place(with_zeros, positive)),
    "xlog1py": Operator(d.xlog1py, two, by_place(with_zeros, positive)),
    "relu": kinked(d.relu, one),
    "leaky_relu": kinked(d.leaky_relu, elementwise(1, negative_slope=[0.2, 1, -0.5])),
    "normal_cdf": Operator(d.normal_cdf, one),
    "elu": kinked(d.elu, elementwise(1, alpha=[0.5, 2])),
    "gelu": Operator(d.gelu, elementwise(1, approximate=["none", "tanh"])),
    "silu": Operator(d.silu, one),
    "maximum": kinked(np.maximum, two),
    "minimum": kinked(np.minimum, two),
    "clip": kinked(np.clip, clip_call),
    "where": Operator(np.where, where_call),
    "astype": Operator(d.astype, astype_call),
    "sum": Operator(np.sum, reduction(single=True)),
    "prod": Operator(np.prod, reduction(single=True), factors),
    "mean": Operator(np.mean, reduction()),
    "max": kinked(np.max, reduction(single=True)),
    "min": kinked(np.min, reduction(single=True)),
    "var": Operator(d.var, spread),
    "std": Operator(d.std, spread, spaced, layouts=DISTINCT),
    "cumsum": Operator(np.cumsum, cumsum_call),
    "cumprod": Operator(np.cumprod, cumsum_call, factors),
    "average": Operator(np.average, average_call),
    "median": kinked(np.median, reduction(single=True)),
    "nansum": Operator(np.nansum, reduction(single=True)),
    "norm": kinked(np.linalg.norm, norm_call),
    "sort": kinked(np.sort, cumsum_call),
    "logsumexp": Operator(d.logsumexp, reduction(masked=True)),
    "softmax": Operator(d.softmax, along_axis(none=True, masked=True)),
    "softmin": Operator(d.softmin, along_axis()),
    "log_softmax": Operator(d.log_softmax, along_axis(none=True, masked=True)),
    "log_softmax_gradient": Operator(d.log_softmax_gradient, mass_call, mixed=False),
    "cross_entropy": loss(d.cross_entropy, index_loss(soft=True, label_smoothing=[0.1])),
    "softmax_minus_onehot": loss(d.softmax_minus_onehot, slope_call),
    "nll_loss": loss(d.nll_loss, index_loss()),
    "categorical_cross_entropy": Operator(
        d.categorical_cross_entropy, categorical_call, positive, mixed=False, dtypes=FLOATS[:2], layouts=DISTINCT
    ),
    "mse_loss": loss(d.mse_loss, distance()),
    "l1_loss": kinked_loss(d.l1_loss, distance()),
    "huber_loss": kinked_loss(d.huber_loss, distance(delta=[1.0, 2.0])),
    "kl_div": loss(d.kl_div, kl_call, anywhere, fractions),
    "focal_loss": loss(d.focal_loss, index_loss(gamma=[0, 1, 3.5])),
    "unreduced_focal_loss": Operator(d.unreduced_focal_loss, elementwise(1, gamma=[0.5, 1.0, 3.5]), positive),
    "z_loss": loss(d.z_loss, z_call),
    "binary_cross_entropy_with_logits": loss(
        d.binary_cross_entropy_with_logits, yes_or_no("weight", "pos_weight"), anywhere, fractions
    ),
    "binary_cross_entropy": loss(d.binary_cross_entropy, yes_or_no("weight"), fractions, fractions),
    "linear_cross_entropy": loss(d.linear_cross_entropy, linear_loss(blocked=False)),
    "blocked_linear_cross_entropy": loss(d.blocked_linear_cross_entropy, linear_loss(blocked=True)),
    "gumbel_softmax": Operator(d.gumbel_softmax, gumbel_call),
    "reshape": Operator(np.reshape, reshape_call),
    "transpose": Operator(np.transpose, transpose_call),
    "swapaxes": Operator(np.swapaxes, swapaxes_call),
    "squeeze": Operator(np.squeeze, squeeze_call),
    "expand_dims": Operator(np.expand_dims, expand_dims_call),
    "broadcast_to": Operator(np.broadcast_to, broadcast_call),
    "join": Operator(d.join, join_call),
    "concatenate": Operator(np.concatenate, concatenate_call),
    "stack": Operator(np.stack, stack_call),
    "split": Operator(np.split, split_call),
    "pad": Operator(np.pad, pad_call),
    "flip": Operator(np.flip, flip_call),
    "take": Operator(np.take, take_call),
    "embedding": Operator(d.embedding, embedding_call),
    "getitem": Operator(d.getitem, getitem_call),
    "ravel": Operator(np.ravel, ravel_call),
    "repeat": Operator(np.repeat, repeat_call),
    "tile": Operator(np.tile, tile_call),
    "roll": Operator(np.roll, roll_call),
    "moveaxis": Operator(np.moveaxis, moveaxis_call),
    "flipud": Operator(np.flipud, whole_array(least=1)),
    "fliplr": Operator(np.fliplr, whole_array(least=2)),
    "append": Operator(np.append, append_call),
    "atleast_1d": Operator(np.atleast_1d, whole_array(least=0)),
    "atleast_2d": Operator(np.atleast_2d, whole_array(least=0)),
    "vstack": Operator(np.vstack, stacked_call(0)),
    "hstack": Operator(np.hstack, hstack_call),
    "column_stack": Operator(np.column_stack, stacked_call(1)),
    "diag": Operator(np.diag, diag_call),
    "diagonal": Operator(np.diagonal, diagonal_call),
    "trace": Operator(np.trace, diagonal_call),
    "tril": Operator(np.tril, triangle_call),
    "triu": Operator(np.triu, triangle_call),
    "scatter": Operator(d.scatter, scatter_call),
    "matmul": Operator(np.matmul, matmul_call),
    "dot": Operator(np.dot, pair_of(dot_call)),
    "inner": Operator(np.inner, pair_of(inner_call)),
    "vdot": Operator(d.vdot, vdot_call),
    "tensordot": Operator(np.tensordot, tensordot_call),
    "outer": Operator(np.outer, outer_call),
    "linear": Operator(d.linear, linear_call),
    "einsum": Operator(d.einsum, einsum_call),
    "unfold": Operator(d.unfold, unfold_call),
    "fold": Operator(d.fold, fold_call),
    "conv2d": Operator(d.conv2d, conv_call),
    "conv2d_images": Operator(d.conv2d_images, conv_images_call),
    "conv2d_kernels": Operator(d.conv2d_kernels, conv_kernels_call),
    "max_pool2d": kinked(d.max_pool2d, pool_call),
    "max_unpool2d": Operator(d.max_unpool2d, unpool_call),
}
