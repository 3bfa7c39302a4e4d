"""The journal: what a session must not lose even when its process does."""
