"""What is public stays: every name and signature is on the recorded list."""

import difflib

import pytest
from project.record_public import LIST, public


def test_the_public_names_and_their_arguments_are_those_recorded():
    for extra in ("sklearn", "mpi4py"):
        pytest.importorskip(extra)
    recorded = LIST.read_text("utf-8").splitlines()
    change = list(difflib.unified_diff(recorded, public(), "recorded", "now", lineterm="", n=0))
    assert not change, "\n".join(
        [*change, "If you mean it: python tests/project/record_public.py, and .github/CHANGELOG.md"]
    )


def test_the_list_has_names_of_every_kind():
    recorded = LIST.read_text("utf-8").splitlines()
    assert {"softmax(x, axis=-1, *, where=None)", "Tensor.shape", "CheckpointError = train.CheckpointError"} <= {
        line.removesuffix(" = train.checkpoint.CheckpointError") for line in recorded
    }
    assert any(line.startswith("sklearn.SoftmaxClassifier.predict_proba(") for line in recorded)
    assert not [line for line in recorded if " at 0x" in line]
