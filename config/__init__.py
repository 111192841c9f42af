"""What the plant is: models, loading, schemas and units; the ground floor of the house."""
