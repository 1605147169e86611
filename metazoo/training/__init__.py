"""Training, export, teachers and campaigns."""
