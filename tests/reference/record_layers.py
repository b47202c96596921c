"""Record PyTorch's figures of newer layers: ``python tests/reference/record_layers.py``.

It writes torch_layers.json beside it, which the tests read; they need no PyTorch.
"""

import torch
import torch.nn.functional as F
from record_torch import LOGITS, YES_NO, elementwise, losses, numbers, optimizers, record, write

OPTIMIZERS = {
    "RMSprop": {"lr": 0.05},
    "RMSprop centered": {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "centered": True},
    "RMSprop momentum": {"lr": 0.02, "alpha": 0.8, "momentum": 0.7, "weight_decay": 0.1},
    "RMSprop all": {"lr": 0.02, "momentum": 0.5, "weight_decay": 0.1, "centered": True},
}
FUNCTIONS = {"elu": F.elu, "elu 0.5": lambda x: F.elu(x, 0.5)}


def cases():
    """The losses of numbers, with their options."""
    x, y = torch.tensor(LOGITS, dtype=torch.float64), torch.tensor(YES_NO, dtype=torch.float64)
    for reduction in ("mean", "sum", "none"):
        yield "mse_loss", x, y, {"reduction": reduction}
        yield "l1_loss", x, y, {"reduction": reduction}
        for delta in (0.25, 1.0, 3.0):
            yield "huber_loss", x, y, {"reduction": reduction, "delta": delta}


def batch_norm():
    """Three batches in training and one in evaluation, of rows and of rows with positions, and what was remembered."""
    rows = []
    for shape, options in (
        ((4, 3), {}),
        ((4, 3), {"momentum": 0.5, "eps": 0.1}),
        ((3, 2, 4), {"momentum": None}),
        ((5, 2), {"affine": False}),
    ):
        layer = torch.nn.BatchNorm1d(shape[1], dtype=torch.float64, **options)
        if layer.affine:
            torch.nn.init.constant_(layer.weight[0:1], 1.5)
            torch.nn.init.constant_(layer.bias[1:2], -0.5)
        batches = []
        for k in range(4):
            x = numbers(*shape) * (k + 1) + k
            x[:, 0] = x[:, 0] if k != 1 else 0.1  # a channel of equal numbers
            layer.train(k < 3)
            layer.zero_grad()
            found = record(layer, x)
            parameters = {name: p.grad.tolist() for name, p in layer.named_parameters()}
            state = {name: t.tolist() for name, t in layer.state_dict().items()}
            batches.append({"x": x.tolist(), **found, "parameters": parameters, "state": state})
        rows.append({"options": options, "features": shape[1], "batches": batches})
    return rows


write(
    "torch_layers.json",
    {
        "losses": losses(cases()),
        "optimizers": optimizers(OPTIMIZERS),
        "elementwise": elementwise(FUNCTIONS),
        "batch_norm": batch_norm(),
    },
)
