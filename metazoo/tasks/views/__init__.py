"""Task families as Gymnasium environments."""
