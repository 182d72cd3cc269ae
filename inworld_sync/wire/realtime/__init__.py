"""The realtime service's wire: commands to text, messages to events, and what follows of them."""
