"""Data: sets that ship with the package, seeded toy sets, readers of files, splitting, batches, and streams."""

# ruff: noqa: F403
from tinygrad_ce.common import spellings
from tinygrad_ce.data.columns import Plan
from tinygrad_ce.data.dataset import *
from tinygrad_ce.data.dataset import __all__ as _dataset
from tinygrad_ce.data.readers import *
from tinygrad_ce.data.readers import __all__ as _readers
from tinygrad_ce.data.stream import Stream, stream
from tinygrad_ce.data.strict import *
from tinygrad_ce.data.strict import __all__ as _strict
from tinygrad_ce.data.tables import *
from tinygrad_ce.data.tables import __all__ as _tables

__all__ = [*_dataset, *_readers, *_strict, *_tables, "Plan", "Stream", "stream"]

__getattr__ = spellings.missing(__name__, __all__)
