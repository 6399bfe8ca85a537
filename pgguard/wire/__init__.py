"""The PostgreSQL protocol as bytes: framing, messages, startup packets, a readable trace. Pure."""
