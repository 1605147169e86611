"""Serving of SavedModels: TF Serving's REST and gRPC API, and adaptation of meta-policies on top of it."""
