"""Meta-learning among clients whose episodes stay with them, on Flower: ``metazoo federate``."""
