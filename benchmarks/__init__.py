"""palm beside its neighbours, in one run; see ``python -m benchmarks --help``."""
