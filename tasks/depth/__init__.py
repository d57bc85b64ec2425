"""Depth: how many metres away each pixel is."""
