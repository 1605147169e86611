"""The published check kit: ``check_family`` tries a family, in graph or on the host."""

from metazoo.tasks.testing.check import check_family as check_family
