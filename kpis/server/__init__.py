"""REST API over a plant's KPIs; an extra, on loopback unless told otherwise."""
