"""Kedro pipelines: thin nodes that unpack parameters, and their wiring.

Each pipeline is a stage of the study. The stage is the outer namespace of its nodes, the task or
the method the inner one; names of datasets carry the inner one only. So the stages follow one
another without a circle, which is what Kedro-Viz needs to fold them and to show layers.
"""
