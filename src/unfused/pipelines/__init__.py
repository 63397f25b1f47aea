"""Kedro pipelines: thin nodes that unpack parameters, and their wiring."""
