"""`pgguard init`: a commented configuration, first rules and a directory file, to begin with."""

from pathlib import Path

import click

_CONFIG = """\
# The configuration of pgguard: pgguard serve --config pgguard.toml
# Paths start at this file's folder. Every section and key is optional but those that stand here without a "#".

[listen]
host = "localhost"              # "*" for every address of the machine
port = 6432

[kerberos]
keytab = "pgguard.keytab"       # with a key of postgres/HOST@REALM, HOST as clients name it
# realms = ["EXAMPLE.COM"]      # whose users may come; else the keytab's own realms

[database]
host = "localhost"
port = 5432
service_user = "pgguard"        # pgguard's own login, for the catalog and probes
# password_file = "password"

[directory]
kind = "static"                 # "ldap" with uri, base and the like: docs/directory.md
path = "directory.yaml"

[rules]
path = "rules"
# mode = "observe"              # decide and record, block nothing: a good first week

[audit]
path = "audit.jsonl"
"""

_RULES = """\
# Who may do what. Nothing is allowed that no rule allows; a deny wins over every allow; the order never matters.
# Before they go live: pgguard check rules/
rules:
  - name: analysts-read-public
    who: {group: analysts}
    allow: select
    on: public.*

  - name: no-blind-writes
    who: everyone
    deny: [update, delete]
    on: "*.*"
    when: {statement: {where: absent}}
    message: UPDATE and DELETE need a WHERE clause
"""

_DIRECTORY = """\
# Users and their groups, where no LDAP server is asked.
users:
  alice: {groups: [analysts]}
"""


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
def init(folder: Path) -> None:
    """Write pgguard.toml, rules/first.yaml and directory.yaml into FOLDER; nothing there is overwritten."""
    files = {
        folder / "pgguard.toml": _CONFIG,
        folder / "rules" / "first.yaml": _RULES,
        folder / "directory.yaml": _DIRECTORY,
    }
    there = [str(path) for path in files if path.exists()]
    if there:
        raise click.ClickException(f"{', '.join(there)} is there already; choose another folder")
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(content)
            click.echo(f"wrote {path}")
    except OSError as error:
        raise click.ClickException(f'cannot write into "{folder}": {error.strerror}') from error
    click.echo("next: a keytab, then pgguard serve --config " + str(folder / "pgguard.toml"))
