"""What all tests share: an example that takes long on a busy machine is no failure."""

from hypothesis import HealthCheck, settings

# Of what is loaded already: tools/mutants.py has a profile of its own.
settings.register_profile(
    "by no clock", settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
)
settings.load_profile("by no clock")
