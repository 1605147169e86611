"""Whole episodes, in the graph and on the host."""
