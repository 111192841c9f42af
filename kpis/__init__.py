"""Pure frames in, frames out: samples become facts, facts become KPIs and indicators."""
