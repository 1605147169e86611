"""Which tasks are alike, as a policy sees them: ``metazoo similar``."""
