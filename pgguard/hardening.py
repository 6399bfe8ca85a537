"""What each process that holds secrets does first: passwords, keys and tickets in its memory and files stay its own.

A limit on core files alone does not keep memory from a handler that `kernel.core_pattern` pipes it to (core(5)); a
process that is not dumpable has no core, and its memory is closed to others of its account as well (ptrace(2)).
"""

import ctypes
import os
import resource

_PR_SET_DUMPABLE = 4  # linux/prctl.h
_PRIVATE = 0o077


def harden() -> None:
    """For this process: no core, no look into its memory; what it creates only its account may read.

    The limit and the mask go on to children, which each call this again where they hold secrets. Raises OSError.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(_PRIVATE)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot keep this process's memory from being dumped: {os.strerror(number)}")
