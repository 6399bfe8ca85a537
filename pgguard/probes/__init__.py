"""Live state, polled in the background: what rules' `state` conditions compare."""
