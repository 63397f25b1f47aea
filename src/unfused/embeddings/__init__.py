"""From log-mels to one vector for each clip."""
