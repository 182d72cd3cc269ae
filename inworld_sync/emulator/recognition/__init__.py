"""Speech recognition of the local server: protocols, engines and the streaming listener."""
