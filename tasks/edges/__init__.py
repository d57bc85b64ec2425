"""Edges: how likely each pixel lies on a boundary."""
