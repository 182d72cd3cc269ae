"""Implements text to speech: connections, contexts and whole utterances."""
