"""The registers as people ask for them: what they hold, who approved them, and what changed since."""
