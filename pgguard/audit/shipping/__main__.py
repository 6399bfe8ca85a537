"""The shipping process: started by whoever writes the log, and ended by the end of its standard input.

The first line of standard input is what to ship and where to (`settings_line`); each line on standard error is for the
operator. When the input ends, because pgguard ends or was killed, what is left in the log is delivered within a moment;
the rest waits in the file for the next start.
"""

import os
import signal
import sys
import threading
from pathlib import Path

import msgspec

from pgguard.audit.settings import Target
from pgguard.audit.shipping.shipper import Shipper
from pgguard.hardening import harden

_LAST_SECONDS = 3.0


def _tell(line: str) -> None:
    try:
        os.write(2, line.replace("\n", " ").encode() + b"\n")
    except OSError:
        return  # nobody listens any more


def _read_settings() -> tuple[Path, tuple[Target, ...]]:
    def path(kind: type, value: object) -> object:
        return kind(value)

    log, targets = msgspec.json.decode(sys.stdin.buffer.readline(), type=tuple[str, tuple[Target, ...]], dec_hook=path)
    return Path(log), targets


def main() -> None:
    harden()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # these are for pgguard, which then ends us
        signal.signal(number, signal.SIG_IGN)
    log, targets = _read_settings()
    ending = threading.Event()
    threads = [
        threading.Thread(target=Shipper(log, target, _tell).run, args=(ending,), name=target.name, daemon=True)
        for target in targets
    ]
    for thread in threads:
        thread.start()
    sys.stdin.buffer.read()
    ending.set()
    timer = threading.Timer(_LAST_SECONDS, os._exit, (0,))
    timer.daemon = True
    timer.start()
    for thread in threads:
        thread.join()
    os._exit(0)


if __name__ == "__main__":
    main()
