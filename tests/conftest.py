"""For all tests: what a machine, and who started them, must not change."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# Answers are judged, not how long a busy machine takes for them.
settings.register_profile("procman", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("procman")

# A shell without job control ignores the first two in what it runs in the background, `nohup` the
# third, and every process of every test would inherit that.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)
