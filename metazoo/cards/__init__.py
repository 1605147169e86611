"""Model cards: figures, baselines, pictures, films."""
