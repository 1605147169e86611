"""What adapting changed in a policy, and what it found out about the task: ``metazoo explain``."""
