"""One voice driving one avatar by a clock. No sockets, no HTTP, no aiortc."""
