"""Policies on devices: one LiteRT file that acts and adapts without TensorFlow, and what makes it (``docs/edge.md``).

Importing this package, or its ``Policy``, loads neither TensorFlow nor any other part of metazoo.
"""

from metazoo.edge.runtime import EdgeError, Policy

__all__ = ["EdgeError", "Policy"]
