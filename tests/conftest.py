"""For all tests: hypothesis judges answers, not how long a busy machine takes for them."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("procman", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("procman")
