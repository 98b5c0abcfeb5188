"""Sessions are opened and found here; whether one more fits; the engine and the portraits that they share."""
