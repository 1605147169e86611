"""SavedModels as programs: sessions, signatures, batching, warm-up."""
