"""Programs that use the engine and the server: command line, browser page, cameras."""
