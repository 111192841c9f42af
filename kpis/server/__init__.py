"""REST API and pages over a plant's figures and its evidence; an extra, on loopback unless told otherwise."""
