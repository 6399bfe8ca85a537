"""Talk with the database by the login of pgguard itself: the catalog that analysis needs."""
