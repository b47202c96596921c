"""Record two models of PyTorch's: ``python tests/reference/record_safetensors.py`` writes *.safetensors beside it.

Each file holds a state_dict, and as metadata an input and PyTorch's output. The tests need no PyTorch.
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn

torch.manual_seed(0)
MODELS = {
    "torch_cnn": (
        nn.Sequential(
            nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.LayerNorm(8), nn.Linear(8, 3),
        ),
        torch.randn(2, 1, 8, 8),
    ),
    "torch_embedding": (
        nn.Sequential(nn.Embedding(6, 3), nn.Flatten(), nn.Linear(12, 4, bias=False), nn.GELU(), nn.Linear(4, 2)),
        torch.randint(6, (2, 4)),
    ),
}  # fmt: skip

for name, (model, x) in MODELS.items():
    with torch.no_grad():
        for p in model.parameters():  # LayerNorm's start as 1 and 0, which would hide an exchange
            p.add_(0.25 * torch.randn_like(p))
        about = {"input": json.dumps(x.tolist()), "output": json.dumps(model(x).tolist())}
    save_file(model.state_dict(), pathlib.Path(__file__).parent / f"{name}.safetensors", about)
