"""Scores, their intervals, and comparisons between encoders."""
