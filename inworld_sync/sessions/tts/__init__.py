"""Text to speech: connections, contexts, whole utterances and their playing."""
