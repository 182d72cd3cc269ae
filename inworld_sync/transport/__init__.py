"""Sockets, TLS, WebSocket connections and HTTP; this folder moves messages without parsing them."""
