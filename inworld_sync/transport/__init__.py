"""Sends and receives messages over sockets, TLS, WebSocket and HTTP, without parsing them."""
