"""What `plantproof browse` makes of what it hears: shapes of payloads, templates, rows for points.csv."""
