"""What krb5.conf forgives: the difference between two clocks, which the library adds to each ticket's life.

GSSAPI tells how long a context lives, the clock skew included, and neither the ticket's own end nor the skew (field
notes, section 4). So the skew is read from where the library itself has it: the profile of libkrb5, by the same call
(MIT krb5 source, lib/krb5/krb/init_ctx.c; the interface is krb5.h and profile.h). A setting of pgguard's own beside it
could differ from it, and a ticket then count for longer than it lives.
"""

import ctypes

_DEFAULT = 300

_krb5 = ctypes.CDLL("libkrb5.so.3")
_krb5.profile_get_integer.argtypes = (
    ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int),
)  # fmt: skip


class ProfileUnreadable(Exception):  # noqa: N818  # it says what happened
    """The library cannot read krb5.conf."""


def clock_skew() -> int:
    """Seconds, as krb5.conf has them now. Raises ProfileUnreadable."""
    context, profile, skew = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_int(_DEFAULT)
    _check(_krb5.krb5_init_context(ctypes.byref(context)))
    try:
        _check(_krb5.krb5_get_profile(context, ctypes.byref(profile)))
        try:
            _check(_krb5.profile_get_integer(profile, b"libdefaults", b"clockskew", None, _DEFAULT, ctypes.byref(skew)))
        finally:
            _krb5.profile_release(profile)
    finally:
        _krb5.krb5_free_context(context)
    return skew.value


def _check(code: int) -> None:
    if code != 0:
        raise ProfileUnreadable(f"krb5.conf cannot be read (error {code}); KRB5_CONFIG names it, else /etc/krb5.conf")
