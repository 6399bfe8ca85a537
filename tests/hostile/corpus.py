"""The corpora: YAML files of attempts, families of them written once, to one Attempt each.

`corpus/` has the attacks, of which none may win; `legitimate/` what must go through under the very same rules;
`limits/` what is known to get through, and stands in docs/security.md.

    class: columns
    attacks:
      - name: a row as a value of one column        # family: one attempt an entry of `each`
        sql: select <<as>> from sales.customers c
        each: {as: ["c::text", "row_to_json(c)"]}

`as` is who tries (mallory); `sql` one query string, or several, sent one after the other on one connection; `own`: the
connection is not used again, since the attack changes what it is; `options`: startup parameters; `copy`: what is sent
when the server asks for COPY data; `tells`: that the database answers with rows is what was wanted, whatever is in
them; `never`: a text that must not be received; `unfinished`: messages behind which nobody need answer;
`pipeline`: statements by the extended protocol, each answered before the next is sent, and no Sync but where `sync`
stands. `shows`: what the answer has in it (`legitimate/` as messages, `limits/`). `psql` is a script for psql instead, `protocol` a list of messages
(protocol.py). `story`: it once got through, and is tried in each run.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

ATTACKS = Path(__file__).parent / "corpus"
LEGITIMATE = Path(__file__).parent / "legitimate"
LIMITS = Path(__file__).parent / "limits"


class _Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt is made of; in a family `<<variable>>` stands for what each is to have there."""

    psql: str = ""
    protocol: tuple[Any, ...] = ()
    pipeline: tuple[str, ...] = ()
    own: bool = False
    options: dict[str, str] = {}
    copy: str = ""
    tells: bool = False
    never: str = ""
    unfinished: bool = False
    shows: str = ""
    story: str = ""


class Attack(_Tried, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry of a file, before its families are spread out."""

    name: str
    sql: str | tuple[str, ...] = ()
    each: dict[str, tuple[str, ...] | dict[str, str]] = {}
    user: str = msgspec.field(default="mallory", name="as")


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: str = msgspec.field(name="class")
    attacks: tuple[Attack, ...] = ()


class Attempt(_Tried, frozen=True, kw_only=True):
    """What one client tries: `sql`, `psql`, `protocol` or `pipeline`, the latter on a connection that `sql` was run on."""

    name: str
    kind: str
    user: str
    sql: tuple[str, ...] = ()


def attempts(folder: Path) -> list[Attempt]:
    """A whole corpus, in the order of the files. Raises ValueError for two attempts of one name or one content."""
    found = [attempt for path in sorted(folder.glob("*.yaml")) for attempt in _read(path)]
    for key in (
        lambda a: (a.kind, a.name),
        lambda a: (a.user, a.sql, a.psql, repr(a.protocol), a.pipeline, repr(a.options), a.copy),
    ):
        seen: dict[Any, Attempt] = {}
        for attempt in found:
            if (other := seen.setdefault(key(attempt), attempt)) is not attempt:
                raise ValueError(f"{attempt.kind}: {attempt.name!r} and {other.name!r} are one attempt")
    return found


def _read(path: Path) -> Iterator[Attempt]:
    try:
        file = msgspec.yaml.decode(path.read_bytes(), type=File)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path.name}: {error}") from error
    for attack in file.attacks:
        yield from _spread(file.kind, attack)


def _spread(kind: str, attack: Attack) -> Iterator[Attempt]:
    sql = (attack.sql,) if isinstance(attack.sql, str) else attack.sql
    choices = [
        [
            (variable, name, text)
            for name, text in (each.items() if isinstance(each, dict) else zip(each, each, strict=True))
        ]
        for variable, each in attack.each.items()
    ]
    for choice in product(*choices):
        values = {variable: text for variable, _, text in choice}
        yield Attempt(
            name=": ".join([attack.name, *(name for _, name, _ in choice)]),
            kind=kind,
            user=attack.user,
            sql=tuple(_filled(text, values) for text in sql),
            psql=_filled(attack.psql, values),
            protocol=tuple(_filled_in(step, values) for step in attack.protocol),
            pipeline=tuple(_filled(step, values) for step in attack.pipeline),
            own=attack.own or bool(attack.pipeline),
            options={name: _filled(value, values) for name, value in attack.options.items()},
            copy=_filled(attack.copy, values),
            tells=attack.tells,
            never=attack.never,
            unfinished=attack.unfinished,
            shows=attack.shows,
            story=attack.story,
        )


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"<<{name}>>", value)
    return text


def _filled_in(step: Any, values: Mapping[str, str]) -> Any:
    match step:
        case str():
            return _filled(step, values)
        case dict():
            return {key: _filled_in(value, values) for key, value in step.items()}
        case list():
            return [_filled_in(item, values) for item in step]
        case _:
            return step
