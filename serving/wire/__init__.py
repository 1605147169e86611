"""What goes over the wire: codec, JSON, tensors, protos."""
