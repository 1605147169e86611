"""Searching a preset's settings with Optuna: ``metazoo tune``. Trials are trainings like any other."""
