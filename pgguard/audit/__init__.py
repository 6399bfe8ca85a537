"""Records, the hash chain, sinks, verification, replay."""
