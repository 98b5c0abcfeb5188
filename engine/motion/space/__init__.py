"""Motion spaces: descriptors, landmarks and how a portrait is measured."""
