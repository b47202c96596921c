"""Data: sets that ship with the package, seeded toy sets, readers of files, splitting, batches, and streams."""

from tinygrad_ce.data.dataset import (
    Dataset,
    batches,
    load_digits,
    load_iris,
    make_blobs,
    make_moons,
    make_spirals,
    split,
)  # fmt: skip
from tinygrad_ce.data.readers import (
    DataError,
    feature_names,
    load_csv,
    load_features,
    load_file,
    load_idx,
    load_npz,
    read_idx,
)  # fmt: skip
from tinygrad_ce.data.stream import Stream, stream

__all__ = [
    "DataError", "Dataset", "Stream", "batches", "feature_names", "load_csv", "load_digits", "load_features",
    "load_file", "load_idx", "load_iris", "load_npz", "make_blobs", "make_moons", "make_spirals", "read_idx", "split",
    "stream",
]  # fmt: skip
