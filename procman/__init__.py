"""Run a Procfile application on one machine the way Heroku runs it on its platform."""

__version__ = "0.1.0"
