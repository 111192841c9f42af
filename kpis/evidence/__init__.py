"""Packages that anyone can check and recompute."""
