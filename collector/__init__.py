"""The edge agent: sources -> batches -> durable spool -> sinks."""
