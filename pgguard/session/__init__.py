"""One client and its server connection as a state machine: bytes in, bytes and effects out. Pure."""
