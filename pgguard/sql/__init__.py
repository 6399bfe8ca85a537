"""SQL text to Facts: parsing, scopes, one collector per statement family, the catalog as a value. Pure."""
