"""What a source of memberships raises."""


class DirectoryError(Exception):
    """The directory cannot answer; the message says why."""
