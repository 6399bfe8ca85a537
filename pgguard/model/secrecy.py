"""Whether a text may hold a password, a token or a key: a quick look, before anything looks for where it stands."""

import re

SPEAKING = (
    "passw", "passphrase", "secret", "token", "api_key", "apikey", "connection", "crypt", "hmac", "digest", "scram",
)  # fmt: skip
"""What a text has in it, in any case, that holds a secret; or the user and password of a URL."""

_SPEAKING = re.compile("|".join(SPEAKING), re.IGNORECASE)
_ENDS_URL = re.compile(r"[\s']")


def speaks_of_secrets(text: str) -> bool:
    """Whether there may be a secret in a text: asked of each statement, and so answered without the regular expression
    where letters have no case but the usual two.
    """
    if not text.isascii():
        return _SPEAKING.search(text) is not None or has_url_login(text)
    lower = text.lower()
    for word in SPEAKING:  # half the time of any()
        if word in lower:
            return True
    return has_url_login(text)


def has_url_login(text: str) -> bool:
    """Whether a text has a URL with a user and a password in it: `://user:password@`.

    In time that grows with the text. A regular expression for it tries each colon with all that follows: a statement
    of colons, which anybody may send, took hours.
    """
    if "://" not in text or "@" not in text:
        return False
    return any(":" in before.partition("://")[2] for run in _ENDS_URL.split(text) for before in run.split("@")[:-1])
