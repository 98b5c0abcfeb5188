"""Motion: descriptors, the landmark motion space, and the networks that make motion from audio."""
