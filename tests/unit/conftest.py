import os

from hypothesis import HealthCheck, settings

# A busy machine makes no property false: no example has a time limit of its own.
settings.register_profile("locksmith", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# For `make mutants`: the same few examples each time, as each mutant meets them anew.
settings.register_profile(
    "mutants", settings.get_profile("locksmith"), max_examples=10, derandomize=True, database=None
)
# For `make quick` and `python -m tests.matrix`: few examples, other ones each time.
settings.register_profile("quick", settings.get_profile("locksmith"), max_examples=5, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "locksmith"))
