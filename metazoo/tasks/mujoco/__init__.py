"""Families of MuJoCo's bodies."""
