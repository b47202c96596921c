"""How a gradient comes about. Read in this order, with ``ops/elementwise.py`` beside it:

1. ``node.py``: a value on the tape, and whether operators are recorded.
2. ``primitive.py``: an operator, made of a forward and one rule per argument.
3. ``record.py``: how a call is written on the tape.
4. ``reverse.py``: the reverse pass; ``backward`` is its loop.

These four are the engine. Small things that they use have files of their own: ``constants.py`` (arguments that are no
Tensors), ``atomic.py`` (what Ctrl-C can't tear), ``single.py`` (float16). Layers stand on the four, which import none
of them: ``no_grad.py``; ``guard.py``, which wraps users' own forwards and rules; ``anomaly.py``, the first nan.
"""
