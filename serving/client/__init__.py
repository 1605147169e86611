"""Clients of a running server, or of a store of policies: ``Client``."""

from serving.client.client import Client as Client
