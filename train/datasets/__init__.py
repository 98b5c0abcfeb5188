"""Batches: what a task sees of the prepared data."""
