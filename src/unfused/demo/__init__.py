"""The demo corpus: notes of a SoundFont, rendered on this machine."""
