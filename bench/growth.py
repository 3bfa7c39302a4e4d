"""Whether a figure grows: the straight line that fits best. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

FEWEST = 3  # points, without which nothing is said about growth


def slope(at: Sequence[float], values: Sequence[float]) -> float | None:
    """How much the values grow for each unit of `at`; None: there are too few of them."""
    if len(at) < FEWEST:
        return None
    return statistics.linear_regression(at, values).slope
