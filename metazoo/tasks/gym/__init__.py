"""Gymnasium environments as host-side families: processes and rows."""
