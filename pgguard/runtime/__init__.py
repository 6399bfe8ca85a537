"""asyncio: listener, connections, the judge of each session, reload, metrics."""
