"""The client of metazoo's server: ``from metazoo.serving.client import Client``. Policies are loaded by ``metazoo``."""
