"""Word-coded audio, and the account of what became of the words."""
