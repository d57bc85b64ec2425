"""Tracking: where the thing in the first frame is in all others."""
