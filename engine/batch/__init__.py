"""Frames of many sessions made together."""
