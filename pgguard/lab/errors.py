"""What goes wrong in a lab: always said with what to do."""


class LabError(Exception):
    """A server of the lab could not be brought to where it should be."""
