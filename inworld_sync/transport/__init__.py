"""Sockets, TLS, WebSocket links and HTTP: bytes of whole messages, nothing of what they mean."""
