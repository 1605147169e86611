"""Adaptation as a service: requests, adapter, retention, idempotency."""
