# ruff: noqa: INP001  # a script, not part of a package
"""Make the reference pages of docs/ anew: docs/rules-reference.md from the tables by which rules are read, docs/cli.md
from the commands themselves.

    ./dev pages

A test (tests/docs/test_references.py) fails where a page differs from what this makes.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from pgguard.cli.main import main as pgguard
from pgguard.model.access import PRIVILEGES_OF, Kind
from pgguard.policy.command_tags import COMMAND_TAGS
from pgguard.policy.load import MAX_RULES
from pgguard.policy.rule_reader import KEYS_WITH, PRIVILEGE_GROUPS, QUALIFIED
from pgguard.policy.schema import columned, schema
from pgguard.policy.tree import MAX_DEPTH, MAX_FILE
from pgguard.sql.special_functions import BESIDES, SPECIAL_FUNCTIONS

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    for name, make in PAGES.items():
        (DOCS / name).write_text(make())


# rules

RULES_HEAD = f"""\
# Rules: the reference

Made by `./dev pages` from the tables by which rules are read. [rules.md](rules.md) is the guide; `pgguard rules schema`
has the same for editors.

A rule file is a map of `rules`, `conditions`, `probes` and `labels`, in YAML of the core schema: UTF-8, one document,
no tags, no merge keys. At most {MAX_FILE >> 20} MiB a file, {MAX_RULES:,} rules, {MAX_DEPTH} levels.
"""


def rules_reference() -> str:
    whole = schema()
    rule = whole["definitions"]["rule"]["properties"]
    when = whole["definitions"]["one_when"]["properties"]
    top = whole["properties"]
    return "\n".join([
        RULES_HEAD,
        "## The file\n",
        *_keys(top),
        "## A rule\n",
        "Required: `name`, `who`, `on` and exactly one of `allow`, `deny` and `hold`.\n",
        *_keys({**rule, "who": {**whole["definitions"]["who"], **rule["who"]}}, goes_with=_goes_with()),
        "### `who`\n",
        "`everyone`, or a map. All keys must match, and of a list any one.\n",
        *_keys(_map_in(whole["definitions"]["who"])),
        "### `columns`\n",
        *_keys(_map_in(rule["columns"])),
        "### `approvers`\n",
        *_keys(rule["approvers"]["properties"]),
        "## Conditions\n",
        "`when` and `unless` are a map of these, all of which must hold, or a list of such maps, any of which must.\n",
        *_keys(when),
        *(line for key in MAPS for line in (f"### `{key}`\n", *_keys(when[key]["properties"]))),
        "## Probes\n",
        *_keys(top["probes"]["additionalProperties"]["properties"]),
        *_kinds(), *_groups(), *_functions(), *_tags(),
    ]).rstrip() + "\n"  # fmt: skip


MAPS = ("ticket", "statement", "transaction")
"""Conditions that are maps themselves."""


def _map_in(piece: Mapping[str, Any]) -> Mapping[str, Any]:
    """The keys of the one map among the forms that a value may have."""
    (found,) = (one["properties"] for one in piece["anyOf"] if "properties" in one)
    return found


def _goes_with() -> dict[str, str]:
    keys = dict.fromkeys(key for found in KEYS_WITH.values() for key in found)
    return {key: ", ".join(f"`{effect}`" for effect, found in KEYS_WITH.items() if key in found) for key in keys}


def _keys(keys: Mapping[str, Any], goes_with: Mapping[str, str] | None = None) -> Iterator[str]:
    rows = []
    for key, piece in keys.items():
        only = f" Only with {goes_with[key]}." if goes_with and key in goes_with else ""
        rows.append((f"`{key}`", _form(piece), piece.get("description", "") + only))
    yield from _table(("key", "value", "meaning"), rows)


def _form(piece: Mapping[str, Any]) -> str:  # noqa: C901, PLR0912  # one case a form reads best
    """How a value is written."""
    match piece:
        case {"$ref": reference}:
            return {"who": "`everyone` or a map", "rule": "a rule"}.get(reference.rpartition("/")[2], "conditions")
        case {"const": value}:
            return f"`{value}`"
        case {"enum": words}:
            return "privileges" if "select" in words else ", ".join(f"`{word}`" for word in words)
        case {"type": "object", "additionalProperties": False}:
            return "a map"
        case {"anyOf": [one, {"type": "array"}]}:
            return f"{_form(one)}, or a list"
        case {"anyOf": [{"enum": _} as one, {"pattern": _}]}:
            return _form(one)
        case {"anyOf": forms}:
            return "; or ".join(dict.fromkeys(_form(form) for form in forms))
        case {"type": "object"}:
            return "a map of names"
        case {"type": "array"}:
            return "a list"
        case {"type": "integer"}:
            return "a whole number above 0"
        case {"type": "boolean"}:
            return "`true`, `false`"
        case {"type": "number"}:
            return "a number"
        case {"type": "string", "pattern": pattern} if "ms|s|m|h|d" in pattern:
            return "a duration: `90s`, `15m`, `8h`, `1d`"
        case {"type": "string"}:
            return "text"
        case {"type": _}:
            return "text, a number or a boolean"
    raise AssertionError(f"no words for {piece}")


def _kinds() -> Iterator[str]:
    yield "## Kinds and privileges\n"
    yield "The kinds of `on`, with the privileges that each has, as in `GRANT`; `(columns)`: rules may name columns.\n"
    rows = []
    for kind, privileges in PRIVILEGES_OF.items():
        named = ", ".join(f"`{p}`{' (columns)' if columned(kind, p) else ''}" for p in privileges)
        rows.append((f"`{kind}`", named, _pattern(kind)))
    rows.append(("`any`", "all of the above", "`*` alone: every object of every kind"))
    yield from _table(("kind", "privileges", "patterns"), rows)


def _pattern(kind: Kind) -> str:
    if kind is Kind.FUNCTION:
        return "`app.f` (all overloads), `app.f(integer, text)`"
    if kind in QUALIFIED:
        return "`schema.name`"
    special = {
        Kind.SETTING: "a name, in any case", Kind.SERVER: "a path or command", Kind.LARGE_OBJECT: "an OID",
        Kind.OPAQUE: "what `pgguard explain` calls it, or `*`", Kind.CAST: "`source as target`", Kind.CHANNEL: "a name",
        Kind.TRANSFORM: '`"type language name"`, quoted',
    }  # fmt: skip
    return special.get(kind, "`name`")


def _groups() -> Iterator[str]:
    yield "### Privilege groups\n"
    rows = [(f"`{word}`", ", ".join(f"`{p}`" for p in sorted(found))) for word, found in PRIVILEGE_GROUPS.items()]
    rows.append(
        (
            "`all`",
            "in an `allow` what the kind has without create, alter, drop and grant; else, and on `any`, everything",
        )
    )
    yield from _table(("word", "privileges, as far as the kind has them"), rows)


def _functions() -> Iterator[str]:
    yield "### Functions with an access of their own\n"
    yield "A call of these is not `execute` on the function, but this:\n"
    by_access: dict[str, list[str]] = {}
    for name, special in (*SPECIAL_FUNCTIONS.items(), *BESIDES.items()):
        by_access.setdefault(f"`{special.privilege}` on `{special.kind}`", []).append(f"`{name}`")
    yield from _table(
        ("access", "functions"), [(access, ", ".join(sorted(names))) for access, names in by_access.items()]
    )


def _tags() -> Iterator[str]:
    yield "### Command tags\n"
    yield "What `statement: {kind: …}` compares with, in any case; `*` is any run of characters.\n"
    yield ", ".join(f"`{tag}`" for tag in sorted(COMMAND_TAGS)) + "\n"


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(heading)} |"
    yield f"| {' | '.join('---' for _ in heading)} |"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


# commands

CLI_HEAD = """\
# The commands

Made by `./dev pages` from the commands themselves; `pgguard COMMAND --help` tells the same. Commands that scripts may
read have `--json`.

## Completion

A shell completes commands, options and file names once it has read what click writes for it:

<!-- not run: it takes three shells; bash's completion is tried by tests/cli/test_completion.py -->
```sh
eval "$(_PGGUARD_COMPLETE=bash_source pgguard)"       # in ~/.bashrc
eval "$(_PGGUARD_COMPLETE=zsh_source pgguard)"        # in ~/.zshrc
_PGGUARD_COMPLETE=fish_source pgguard | source        # in ~/.config/fish/completions/pgguard.fish
```
"""


def cli_reference() -> str:
    context = click.Context(pgguard, info_name="pgguard")
    return "\n".join([CLI_HEAD, *_commands(pgguard, context)]).rstrip() + "\n"


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, "it was listed"
        inside = click.Context(command, info_name=name, parent=context)
        yield from _command(command, inside)
        if isinstance(command, click.Group):
            yield from _commands(command, inside)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    path = context.command_path
    level = "##" if path.count(" ") == 1 else "###"
    yield f"{level} `{path}`\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{path} {usage}\n```\n"
    yield "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n")) + "\n"
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    if options:
        yield from _table(("option", "meaning"), [_option(option, context) for option in options])


def _option(option: click.Option, context: click.Context) -> tuple[str, str]:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag or option.count else f" `{option.make_metavar(context)}`"
    record = option.get_help_record(context)
    return names + value, record[1] if record is not None else ""


PAGES = {"rules-reference.md": rules_reference, "cli.md": cli_reference}

if __name__ == "__main__":
    main()
