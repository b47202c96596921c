"""Record PyTorch's figures for the tests: ``python tests/reference/record_torch.py`` writes torch.json beside it.

The tests read the file and need no PyTorch. Inputs are small fixed numbers, so that anyone can check them by hand.
"""

import itertools
import json
import pathlib
import warnings

import torch
import torch.nn.functional as F

warnings.filterwarnings("ignore")
LOGITS = [[2.0, -1.0, 0.1], [3.0, -1.0, 1.0], [0.5, 0.25, -2.0], [-1.5, 4.0, 0.0]]
INDEX = [1, 2, -100, 0]
SOFT = [[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.6, 0.6, 0.1], [0.0, 0.5, 0.5]]
WEIGHT = [0.5, 1.0, 2.0]


def cross_entropy():
    rows = []
    for soft, weighted, reduction, smoothing in itertools.product(
        (False, True), (False, True), ("mean", "sum", "none"), (0.0, 0.1)
    ):
        x = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
        target = torch.tensor(SOFT, dtype=torch.float64) if soft else torch.tensor(INDEX)
        weight = torch.tensor(WEIGHT, dtype=torch.float64) if weighted else None
        loss = F.cross_entropy(x, target, weight=weight, reduction=reduction, label_smoothing=smoothing)
        loss.sum().backward()
        rows.append(
            {
                "soft": soft,
                "weighted": weighted,
                "reduction": reduction,
                "smoothing": smoothing,
                "loss": loss.tolist(),
                "gradient": x.grad.tolist(),
            }
        )
    return {"logits": LOGITS, "index": INDEX, "soft": SOFT, "weight": WEIGHT, "rows": rows}


PROBABILITIES = [[0.2, 0.3, 0.5], [0.9, 0.05, 0.05], [0.6, 0.1, 0.3], [0.25, 0.5, 0.25]]
YES_NO = [[0.0, 1.0, 0.3], [1.0, 0.0, 1.0], [0.0, 0.0, 0.5], [1.0, 1.0, 0.0]]


def cases():
    """The losses beside cross_entropy, with their options."""
    x = torch.tensor(LOGITS, dtype=torch.float64)
    p = torch.tensor(PROBABILITIES, dtype=torch.float64)
    y = torch.tensor(YES_NO, dtype=torch.float64)
    w = torch.tensor(WEIGHT, dtype=torch.float64)
    logp = torch.log_softmax(x, 1)
    cases = []
    for reduction in ("mean", "sum", "none"):
        cases += [
            ("nll_loss", logp, torch.tensor(INDEX), {"reduction": reduction}),
            ("nll_loss", logp, torch.tensor(INDEX), {"reduction": reduction, "weight": w}),
            ("binary_cross_entropy_with_logits", x, y, {"reduction": reduction}),
            ("binary_cross_entropy_with_logits", x, y, {"reduction": reduction, "weight": w, "pos_weight": 2 * w}),
            ("binary_cross_entropy", p, y, {"reduction": reduction}),
            ("binary_cross_entropy", p, y, {"reduction": reduction, "weight": w}),
            ("kl_div", logp, p, {"reduction": reduction}),
            ("kl_div", logp, logp.flip(0), {"reduction": reduction, "log_target": True}),
        ]
    return [*cases, ("kl_div", logp, p, {"reduction": "batchmean"})]


def losses(cases):
    """Value and gradient of each loss."""
    rows = []
    for name, input, target, options in cases:
        t = input.clone().requires_grad_()
        loss = getattr(F, name)(t, target, **options)
        loss.sum().backward()
        plain = {k: v.tolist() if isinstance(v, torch.Tensor) else v for k, v in options.items()}
        rows.append(
            {
                "name": name,
                "input": input.tolist(),
                "target": target.tolist(),
                "options": plain,
                "loss": loss.tolist(),
                "gradient": t.grad.tolist(),
            }
        )
    return rows


OPTIMIZERS = {
    "SGD": {"lr": 0.1},
    "SGD momentum": {"lr": 0.1, "momentum": 0.9},
    "SGD nesterov": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    "SGD decay": {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.05},
    "Adam": {"lr": 0.05},
    "Adam decay": {"lr": 0.05, "betas": [0.8, 0.95], "eps": 1e-6, "weight_decay": 0.05},
    "AdamW": {"lr": 0.05},
    "AdamW decay": {"lr": 0.05, "weight_decay": 0.2},
}


def optimizers(chosen):
    """20 steps on the sum of (w - 1)**4 + w[0] w[1], with a schedule that is the same for all."""
    figures = {}
    for name, options in chosen.items():
        w = torch.tensor([1.5, -0.5, 0.25], dtype=torch.float64, requires_grad=True)
        optimizer = getattr(torch.optim, name.split()[0])([w], **options)
        path = []
        for _ in range(20):
            optimizer.zero_grad()
            (((w - 1) ** 4).sum() + w[0] * w[1]).backward()
            optimizer.step()
            path.append(w.tolist())
        figures[name] = {"options": options, "path": path}
    return {"start": [1.5, -0.5, 0.25], "optimizers": figures}


def schedules():
    figures = {}
    for name, options in {
        "StepLR": {"step_size": 3, "gamma": 0.5},
        "CosineAnnealingLR": {"T_max": 10, "eta_min": 0.01},
    }.items():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
        schedule = getattr(torch.optim.lr_scheduler, name)(optimizer, **options)
        rates = []
        for _ in range(10):
            optimizer.step()
            schedule.step()
            rates.append(optimizer.param_groups[0]["lr"])
        figures[name] = {"options": options, "lr": 0.4, "rates": rates}
    return figures


FUNCTIONS = {
    "abs": torch.abs,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "softplus": lambda x: F.softplus(x, threshold=1000.0),
    "tanh": torch.tanh,
    "clip": lambda x: torch.clamp(x, -1.0, 1.0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "minimum": lambda x: torch.minimum(x, torch.ones_like(x)),
    "square": torch.square,
    "power 0": lambda x: x**0,
    "power 3": lambda x: x**3,
    "max": lambda x: torch.amax(torch.stack([x, x]), 0),
    "std": lambda x: torch.std(torch.stack([x, x]), 0, correction=0),
    "prod": lambda x: torch.prod(torch.stack([x, x * 0.5, x - x]), 0),
}


def elementwise(functions):
    """Values and gradients at kinks, ties and saturated ends."""
    x = [-90.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 90.0]
    figures = {}
    for name, f in functions.items():
        t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        y = f(t)
        y.sum().backward()
        figures[name] = {"value": y.tolist(), "gradient": t.grad.tolist()}
    return {"x": x, "functions": figures}


def numbers(*shape):
    """Halves from -2.5 to 2.5 in a mixed order, with ties."""
    count = torch.Size(shape).numel()
    return ((torch.arange(count, dtype=torch.float64) * 7 % 11 - 5) / 2).reshape(shape)


def record(f, *inputs):
    """The value y of f, and its gradient in each input where that in y is y itself, all flattened."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    y = f(*leaves)
    y.backward(y.detach())
    return {
        "shape": list(y.shape),
        "value": y.flatten().tolist(),
        "gradients": [x.grad.flatten().tolist() for x in leaves],
    }


def conv2d():
    inputs = numbers(1, 2, 3, 4), numbers(2, 2, 2, 3), numbers(2)
    rows = []
    for options in ({}, {"stride": 2, "padding": 1}, {"stride": [1, 2], "padding": [2, 0]}):
        f = lambda x, weight, bias, options=options: F.conv2d(x, weight, bias, **options)
        rows.append({"options": options, **record(f, *inputs)})
    return {"inputs": [x.tolist() for x in inputs], "rows": rows}


def max_pool2d():
    x = numbers(1, 2, 5, 4).round()  # so that most windows hold their maximum more than once
    rows = []
    for options in ({"kernel_size": 2}, {"kernel_size": [2, 3], "stride": [2, 1]}):
        f = lambda x, options=options: F.max_pool2d(x, **options)
        rows.append({"options": options, **record(f, x)})
    return {"inputs": [x.tolist()], "rows": rows}


def embedding():
    index, weight = [[2, 0, 2], [3, 2, 0]], numbers(5, 2)
    f = lambda weight: F.embedding(torch.tensor(index), weight)
    return {"index": index, "weight": weight.tolist(), **record(f, weight)}


def layer_norm():
    x = numbers(2, 2, 3)
    x[0, 1] = 0.1  # a row of equal numbers
    rows = []
    for shape, eps in (((3,), 1e-5), ((2, 3), 0.1)):
        f = lambda x, weight, bias, shape=shape, eps=eps: F.layer_norm(x, shape, weight, bias, eps)
        weight, bias = numbers(*shape) + 0.25, numbers(*shape)
        parameters = {"weight": weight.tolist(), "bias": bias.tolist()}
        rows.append({"eps": eps, **parameters, **record(f, x, weight, bias)})
    return {"x": x.tolist(), "rows": rows}


def write(name, figures):
    """Beside this script, with PyTorch's version."""
    path = pathlib.Path(__file__).with_name(name)
    path.write_text(json.dumps({"torch": torch.__version__, **figures}, indent=1) + "\n")


if __name__ == "__main__":
    figures = {
        "cross_entropy": cross_entropy(),
        "losses": losses(cases()),
        "optimizers": optimizers(OPTIMIZERS),
        "schedules": schedules(),
        "elementwise": elementwise(FUNCTIONS),
        "conv2d": conv2d(),
        "max_pool2d": max_pool2d(),
        "embedding": embedding(),
        "layer_norm": layer_norm(),
    }
    write("torch.json", figures)
