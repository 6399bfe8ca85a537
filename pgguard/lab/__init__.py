"""A throwaway realm, directory, database and proxy on loopback: the demo, the tests, a sandbox for rules."""
