"""What the tests share."""

import json
import pathlib

import pytest
from hypothesis import HealthCheck, settings

collect_ignore_glob = ["reference/*", "mpi/programs/*"]  # scripts: one needs PyTorch, the others mpiexec

# The same examples at every run. A long hunt: pytest tests/engine/test_properties.py --hypothesis-profile=hunt
settings.register_profile(
    "quick", max_examples=30, derandomize=True, database=None, deadline=None, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.register_profile("hunt", settings.get_profile("quick"), max_examples=1000, derandomize=False)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def torch_figures():
    """PyTorch's figures, as reference/record_torch.py wrote them."""
    return json.loads((pathlib.Path(__file__).parent / "reference" / "torch.json").read_text())
