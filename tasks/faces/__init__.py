"""Faces: whose they are, or whether two are of one person."""
