"""What the tests share."""

import json
import pathlib

import pytest

collect_ignore_glob = ["reference/*"]  # a script that needs PyTorch


@pytest.fixture(scope="session")
def torch_figures():
    """PyTorch's figures, as reference/record_torch.py wrote them."""
    return json.loads((pathlib.Path(__file__).parent / "reference" / "torch.json").read_text())
