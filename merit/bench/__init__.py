"""How fast the stages are, as ratios taken in one run; `make bench` prints and keeps it."""

from merit.bench.suite import run

__all__ = ["run"]
