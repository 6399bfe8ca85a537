"""Which text reads the same to the parser here and to the database, whatever the session's settings are."""


def reads_the_same(text: bytes) -> bool:
    """Pure ASCII without a backslash: no lexer setting and no client encoding changes how it is read.

    # INVARIANT: other text is judged and relayed only when the session is quiet and reports that
    # standard_conforming_strings is on and the client encoding is UTF8 (design, section 4).
    """
    return text.isascii() and b"\\" not in text
