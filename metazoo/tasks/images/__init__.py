"""Families whose tasks are sets of image classes: few-shot classification."""
