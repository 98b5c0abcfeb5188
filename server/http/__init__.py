"""The HTTP application: page, signalling, uploads, WebSocket and health on one port."""
