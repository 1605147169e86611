"""What ``metazoo demo`` does."""
