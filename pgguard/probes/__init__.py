"""Live state, polled in the background."""
