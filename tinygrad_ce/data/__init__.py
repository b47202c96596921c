"""Data: sets that ship with the package, seeded toy sets, readers of files, splitting and batches."""

from tinygrad_ce.data.dataset import Dataset, batches, split
from tinygrad_ce.data.files import (
    DataError,
    feature_names,
    load_csv,
    load_features,
    load_file,
    load_idx,
    load_npz,
    read_idx,
)
from tinygrad_ce.data.sets import load_digits, load_iris, make_blobs, make_moons, make_spirals

__all__ = [
    "DataError", "Dataset", "batches", "feature_names", "load_csv", "load_digits", "load_features", "load_file",
    "load_idx", "load_iris", "load_npz", "make_blobs", "make_moons", "make_spirals", "read_idx", "split",
]  # fmt: skip
