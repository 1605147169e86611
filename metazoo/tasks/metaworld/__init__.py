"""Families of Meta-World."""
