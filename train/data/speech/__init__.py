"""Synthetic speech, and augmentation of real speech."""
