"""One KPI or family, one file."""
