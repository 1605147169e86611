"""In-graph task families, one a file."""
