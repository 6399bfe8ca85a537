"""What a running lab tells of itself: `lab.json` for programs, `env.sh` for shells."""

import shlex
from pathlib import Path

import msgspec

from pgguard.lab.errors import LabError

_FILE = "lab.json"


class Address(msgspec.Struct, frozen=True):
    host: str
    port: int


class Database(msgspec.Struct, frozen=True):
    host: str
    port: int
    name: str
    superuser: str


class Ldap(msgspec.Struct, frozen=True):
    uri: str
    base: str
    admin_dn: str
    admin_password: str


class LabState(msgspec.Struct, frozen=True):
    """The content of lab.json; paths are absolute.

    `audit` is the file that audit records are appended to, `servers` the folder of realm, directory and database,
    `pids` those of proxy, kdc, slapd and postgres (without proxy after `--no-proxy`).
    """

    proxy: Address
    database: Database
    realm: str
    krb5_config: str
    ccaches: dict[str, str]
    ldap: Ldap
    audit: str
    rules: str
    config: str
    servers: str
    pids: dict[str, int]

    def environment(self) -> dict[str, str]:
        """What every client of the lab needs."""
        return {
            "KRB5_CONFIG": self.krb5_config,
            "PGHOST": self.proxy.host,
            "PGPORT": str(self.proxy.port),
            "PGDATABASE": self.database.name,
        }

    def environment_of(self, user: str) -> dict[str, str]:
        """And what makes it that user's: their ticket and name."""
        if user not in self.ccaches:
            raise LabError(f'the lab has no user "{user}"; it has {", ".join(sorted(self.ccaches))}')
        return {**self.environment(), "KRB5CCNAME": f"FILE:{self.ccaches[user]}", "PGUSER": user}

    def write(self, folder: Path) -> None:
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in self.environment().items()]
        (folder / "env.sh").write_text("".join(lines))
        file = folder / _FILE
        file.touch(mode=0o600)  # the directory's password is in it
        file.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def read_state(folder: Path) -> LabState:
    """The state of the lab in the folder; raises LabError where there is none."""
    try:
        return msgspec.json.decode((folder / _FILE).read_bytes(), type=LabState)
    except FileNotFoundError:
        raise LabError(f'there is no lab in "{folder}"; start one: pgguard lab up --dir {folder}') from None
    except msgspec.DecodeError as error:
        raise LabError(f'"{folder / _FILE}" is not what `lab up` wrote: {error}') from error


def forget_state(folder: Path) -> None:
    for name in (_FILE, "env.sh"):
        (folder / name).unlink(missing_ok=True)
