"""Corpora made on this machine: instruments of a SoundFont, and random sounds."""
