"""Which tasks an update trains on: ``sampler`` of a preset."""
