"""Transcripts found again by the sound of their audio."""
