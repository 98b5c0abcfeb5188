"""Clips with images: what the animator learns from."""
