"""Run a Procfile application on one machine the way Heroku runs it on its platform."""

import gc

__version__ = "0.1.0"

# A start makes 30,000 objects that stay: looking among them for garbage, after every 700 as is the
# default, takes a twentieth of the time to the first dyno.
gc.set_threshold(50_000)
