"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# How long an example takes decides no test: on a busy machine each may take seconds.
settings.register_profile("hearth", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hearth")
