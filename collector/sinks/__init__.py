"""One sink, one file: each writes the spool's batches to one kind of store."""
