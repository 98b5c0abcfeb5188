"""The live talking-avatar engine: portrait in, voice in, frames out."""
