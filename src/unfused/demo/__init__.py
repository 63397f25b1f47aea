"""The demo corpora: instruments of a SoundFont, rendered on this machine."""
