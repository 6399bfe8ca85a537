"""What a Bind has bound, as the audit has it: text, and hexadecimal for what is binary.

The client says of each value which it is, of all by one code, or of none: then all are text (PostgreSQL docs, section
55.7, Bind). What of the values is kept is the audit's business.
"""

_BINARY = 1

Formats = tuple[int, ...]


def as_text(parameters: tuple[bytes | None, ...], formats: Formats) -> tuple[str | None, ...]:
    if _BINARY not in formats:
        return tuple([None if one is None else one.decode("utf-8", "backslashreplace") for one in parameters])
    return tuple(
        None
        if value is None
        else f"\\x{value.hex()}"
        if _is_binary(formats, index)
        else value.decode("utf-8", "backslashreplace")
        for index, value in enumerate(parameters)
    )


def binary_ones(parameters: tuple[bytes | None, ...], formats: Formats) -> tuple[int, ...]:
    """Which of them are binary."""
    if _BINARY not in formats:
        return ()
    return tuple(index for index in range(len(parameters)) if _is_binary(formats, index))


def _is_binary(formats: Formats, index: int) -> bool:
    if len(formats) == 1:
        return formats[0] == _BINARY
    return index < len(formats) and formats[index] == _BINARY
