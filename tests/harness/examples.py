"""With how many examples a property is tried, where the usual number is too few."""

from hypothesis import settings


def times(usual: float) -> int:
    """Give that many times the number of the profile in use: `make mutants` has one with few."""
    return max(1, int(settings().max_examples * usual))
