from hypothesis import HealthCheck, settings

# A busy machine makes no property false: no example has a time limit of its own.
settings.register_profile("locksmith", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("locksmith")
