"""TF Serving's own binary as engine."""
