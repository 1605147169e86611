"""The settings of the zoo's policies, as plain data."""
