"""A throwaway realm, directory, database and proxy on loopback: the demo, the tests, a DBA's sandbox.

Each server is a class of its own (Realm, Slapd, Postgres) that owns one folder and one process, touches nothing of
the system's configuration or services, and is a context manager. `lab.py` puts them together with the proxy.
"""
