"""The realtime protocol: commands to JSON, messages to events, and the state between them."""
