"""pgguard: Kerberos query-level approval for PostgreSQL."""

__version__ = "0.1.0"
