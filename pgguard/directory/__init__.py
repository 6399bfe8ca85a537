"""Who is in which group: LDAP, a static file, the cache and its refresh."""
