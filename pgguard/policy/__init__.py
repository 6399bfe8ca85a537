"""Rule files to Decisions: schema, loading, deciding, explaining, rule tests. Pure."""
