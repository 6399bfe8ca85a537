"""Who is asking: the Kerberos acceptor, the encrypted transports, identity mapping, login to the database."""
