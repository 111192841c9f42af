"""Samples by point and time, whatever they lie in."""
