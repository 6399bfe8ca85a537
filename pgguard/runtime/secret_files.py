"""The files of secrets that a configuration names, and which of them everybody on the machine may read or change."""

import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pgguard.audit.settings import OtlpTarget
from pgguard.runtime.config import Config

SECRETS = frozenset(
    {"keytab", "key", "key_file", "password_file", "service_password_file", "bind_password_file", "secret_file"}
)
"""Names of settings, in any section, whose file is a secret."""

_BY_OTHERS = stat.S_IROTH | stat.S_IWOTH


def exposed_files(config: Config, path: Path) -> list[Path]:
    """Those that are open to everybody. `path`: the configuration's own, which may hold secrets itself."""
    named = list(_named_in(config))
    if config.directory.bind_password or any(isinstance(t, OtlpTarget) and t.headers for t in config.audit.ship):
        named.append(path)
    return [file for file in dict.fromkeys(named) if _is_open(file)]


def _named_in(settings: msgspec.Struct) -> Iterator[Path]:
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if name in SECRETS and isinstance(value, Path):
            yield value
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, msgspec.Struct):
                yield from _named_in(inner)


def _is_open(file: Path) -> bool:
    """Whether accounts that neither own it nor are of its group reach it. One that cannot be looked at is not."""
    try:
        place = file.resolve(strict=True)
        return bool(place.stat().st_mode & _BY_OTHERS) and all(
            folder.stat().st_mode & stat.S_IXOTH for folder in place.parents
        )
    except OSError:
        return False  # whoever needs it says what is wrong with it
