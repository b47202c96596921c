"""How fast it is, beside its peers: each benchmark runs alone, as ``python -m benchmarks.NAME``."""
