"""Charts of the report: each a definition in Vega-Lite, made with Altair, drawn to SVG without a browser."""
