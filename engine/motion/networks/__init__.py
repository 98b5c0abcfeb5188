"""The networks between audio and motion: audio encoder, lips, eyes."""
