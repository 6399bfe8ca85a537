"""How the tests look at the schema of schema.sql."""

from pgguard.sql.environment import Settings

SETTINGS = Settings(("pg_catalog", "app", "public"), "postgres", "postgres")
