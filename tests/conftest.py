"""What the tests share."""

import gc
import json
import os
import pathlib

if "PYTEST_XDIST_WORKER" in os.environ:  # before NumPy is imported: the workers fill the cores, one thread each
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

collect_ignore_glob = ["reference/*", "mpi/programs/*"]  # scripts: one needs PyTorch, the others mpiexec

# The same examples at every run. A long hunt: pytest tests/engine/test_properties.py --hypothesis-profile=hunt
settings.register_profile(
    "quick", max_examples=20, derandomize=True, database=None, deadline=None, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.register_profile("few", settings.get_profile("quick"), max_examples=5)  # of another NumPy, say
settings.register_profile("hunt", settings.get_profile("quick"), max_examples=1000, derandomize=False)
settings.load_profile("quick")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """The whole suite runs on every core that this process may use; a few files are quicker without workers."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if cores > 1 and config.args_source is config.ArgsSource.TESTPATHS else 0


# Files whose tests share what is dear to make, a browser or the whole documentation, go to one worker each.
WHOLE = ("test_docs.py", "test_player.py", "test_pages.py", "test_film.py", "test_arithmetic.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Whole files first, then test by test, as workers become free."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = nodeid.partition("::")[0]
            return path if path.endswith(WHOLE) else nodeid

    return Scheduling(config, log)


def pytest_collection_finish():
    """What all tests need stays to the end: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def torch_figures():
    """PyTorch's figures, as reference/record_torch.py and record_layers.py wrote them."""
    folder = pathlib.Path(__file__).parent / "reference"
    figures, newer = (json.loads((folder / name).read_text()) for name in ("torch.json", "torch_layers.json"))
    figures["losses"] += newer["losses"]
    figures["optimizers"]["optimizers"] |= newer["optimizers"]["optimizers"]
    figures["elementwise"]["functions"] |= newer["elementwise"]["functions"]
    return figures | {"batch_norm": newer["batch_norm"]}
