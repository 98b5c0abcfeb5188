"""Architectures of other people's pretrained networks."""
