"""Rubrics of the assessments against figures, findings and declared answers."""
