"""Tables for spreadsheet programs: text in them is never taken as a formula, and the same tables are the same bytes."""
