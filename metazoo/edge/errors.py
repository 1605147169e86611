"""What can go wrong when a policy is converted for devices."""


class ConversionError(Exception):
    """A policy has no form that a device can run, or that form answers otherwise; one sentence. Nothing was written."""
