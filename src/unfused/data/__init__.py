"""Audio files in, validated manifest and memory-mapped log-mels out."""
