"""Rates over registers and facts."""
