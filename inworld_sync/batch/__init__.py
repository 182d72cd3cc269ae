"""Does many items: texts to audio files, and recordings to transcripts."""
