"""How a gradient comes about. Read in this order, with ``ops/elementwise.py`` beside it:

1. ``node.py``: a value on the tape, and ``no_grad``.
2. ``primitive.py``: an operator, made of a forward and one rule per argument.
3. ``record.py``: how a call is written on the tape; ``constants.py`` copies what is no Tensor in it.
4. ``reverse.py``: the reverse pass; ``backward`` is its loop.

These four are the engine. Two layers stand on them, and the four import neither: ``guard.py`` wraps the forwards and
rules that users write, ``anomaly.py`` finds the operator that made the first nan. (``inside.py`` helps ``no_grad``.)
"""
