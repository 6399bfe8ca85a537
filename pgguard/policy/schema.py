"""A JSON Schema of rule files (draft 7, which editors know), made from the tables by which they are read.

Every map of the language is written here as one call of `_map` with the keys that its reader knows: a key that is
missing here, or that no reader knows, is an error at once, so that the two cannot drift apart. The schema refuses
nothing that loads. What depends on other places (a name that is defined twice, an unknown probe or label) or on
PostgreSQL (shapes, command tags) only a load can tell. docs/rules-reference.md is made from the descriptions.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pgguard.model.access import COLUMN_PRIVILEGES, PRIVILEGES_OF, Kind, Privilege
from pgguard.model.context import Transport
from pgguard.model.decision import Covers, Effect, Redaction
from pgguard.policy.condition_reader import (
    CONDITION_KEYS,
    DAYS,
    STATEMENT_KEYS,
    TICKET_KEYS,
    TRANSACTION_KEYS,
    WHERE_KEYS,
    WHERE_WORDS,
)
from pgguard.policy.load import HIDDEN, LABEL_KEYS, MAX_RULES, TOP_KEYS
from pgguard.policy.probes import PARTNERS, PROBE_KEYS, SOURCES
from pgguard.policy.reading import LARGEST_COUNT
from pgguard.policy.rule import Mode
from pgguard.policy.rule_reader import (
    APPROVERS_KEYS,
    COLUMNS_KEYS,
    EFFECTS,
    GROUP_KEYS,
    KEYS_WITH,
    PEOPLE_KEYS,
    PRIVILEGE_GROUPS,
    QUALIFIED,
    REQUIRED_KEYS,
    RULE_KEYS,
    UNSPLIT,
    WHO_KEYS,
)

Schema = dict[str, Any]


def schema() -> Schema:
    """The whole schema, as `pgguard rules schema` prints it."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Rules of pgguard",
        **_map("A rule file.", TOP_KEYS, _top()),
        "definitions": {"rule": _rule(), "who": _who(), "when": _when(), "one_when": _one_when()},
    }


def _top() -> Schema:
    return {
        "rules": {
            "type": "array",
            "maxItems": MAX_RULES,
            "items": {"$ref": "#/definitions/rule"},
            "description": "The rules of this file. Their order, and that of files, never matters.",
        },
        "conditions": _named("Named conditions, for `is`.", {"$ref": "#/definitions/when"}),
        "probes": _named("Live state, polled in the background, for `state`.", _probe()),
        "redact": _named(
            "Labels, and what the audit makes of constants and bound values of statements that touch their columns.",
            _choice("", HIDDEN),
        ),
        "labels": _named("Names for columns, for `columns: {label: …}` and redaction in the audit.", _label()),
    }


def _probe() -> Schema:
    sources = [{"required": [s, PARTNERS[s]] if s in PARTNERS else [s]} for s in SOURCES]
    keys = {
        "sql": _word("A query of one value, asked with pgguard's own login; needs `database`."),
        "file": _word("true while this file exists."),
        "http": _matching("An address that answers JSON; needs `json`.", "^https?://"),
        "database": _word("Where the query is asked."),
        "json": _word("The dotted path to the value in the answer."),
        "every": _duration("How often it is looked up. A value older than three periods is no value."),
    }
    return {**_map("Where one live value comes from.", PROBE_KEYS, keys, required=["every"]), "oneOf": sources}


def _label() -> Schema:
    column = _matching("`schema.table.column`, each part a pattern.", f"^{_PART}\\.{_PART}\\.{_PART}$")
    comment = _map(
        "Columns by their comment.", LABEL_KEYS, {"comment": _word("A pattern of the column's comment in the catalog.")}
    )
    return _list_or_one("The columns that wear this label.", {"anyOf": [column, comment]})


# a rule


def _rule() -> Schema:
    keys = {
        "name": _matching("Unique over all files; shown to the user on denial, and in the audit.", _ONE_LINE),
        "who": {"$ref": "#/definitions/who"},
        "allow": _privileges("What is allowed: a privilege, a privilege group, or a list of them."),
        "deny": _privileges("What is denied, whatever else allows it."),
        "hold": _privileges("What waits for a person's approval. It grants nothing: it delays what is allowed."),
        "on": _on(),
        "columns": _columns(),
        "database": _words("Patterns of databases; left out: every database."),
        "when": _described("The rule applies where this holds.", {"$ref": "#/definitions/when"}),
        "unless": _described("The rule does not apply where this holds.", {"$ref": "#/definitions/when"}),
        "redact": _choice(
            "What becomes of constants and bound values of statements that it decides, in the audit.", Redaction
        ),
        "mode": _choice("`observe`: without effect, but the audit tells what it would have done.", Mode),
        "message": _word("What the user is told."),
        "max_rows": _count("A longer result ends in an error (53400), never silently."),
        "until": _matching("The last date (UTC) on which it applies, as YYYY-MM-DD.", r"^\d{4}-\d{2}-\d{2}$"),
        "owner": _word("Who answers for the rule."),
        "approvers": _approvers(),
        "timeout": _duration("How long it waits for approval; 15m where it is not said."),
        "covers": _choice("How far one approval reaches for this rule.", Covers),
        "for": _duration("How long an approval that covers the session lasts."),
    }
    rule = _map("Who may do what, on what, when.", RULE_KEYS, keys, required=REQUIRED_KEYS)
    hold: Schema = {
        "required": ["approvers"],
        "if": {"properties": {"covers": {"const": Covers.SESSION.value}}, "required": ["covers"]},
        "then": {"required": ["for"]},
        "else": {"not": {"required": ["for"]}},
    }
    effects: Schema = {"oneOf": [{"required": [effect]} for effect in EFFECTS]}
    return {**rule, "allOf": [effects, *map(_only_with, Effect), {"if": {"required": ["hold"]}, "then": hold}]}


def _only_with(effect: Effect) -> Schema:
    """With this effect the keys of the others are refused."""
    others = {key for other, keys in KEYS_WITH.items() for key in keys if other is not effect}
    refused = sorted(others.difference(KEYS_WITH[effect]))
    return {"if": {"required": [effect.value]}, "then": {"properties": dict.fromkeys(refused, False)}}


def _who() -> Schema:
    group = {
        "anyOf": [
            _words(""),
            _map("", GROUP_KEYS, {"all": _words("Each of these groups, not any one.")}),
        ]
    }
    keys = {
        "user": _words("Patterns of the login user, whatever SET ROLE says."),
        "group": _described("Patterns of groups of the directory, in any case.", group),
        "principal": _words("Patterns of the Kerberos principal, with its realm."),
    }
    inside = _map("Whom the rule is not about.", WHO_KEYS[:-1], keys)
    people = _map("", WHO_KEYS, {**keys, "not": inside})
    return _described(
        "Whom the rule is about: `everyone`, or a map of which all keys must match, and of a list any one.",
        {"anyOf": [{"const": "everyone"}, people]},
    )


def _privileges(what: str) -> Schema:
    words = [*Privilege, *PRIVILEGE_GROUPS, "all"]
    return _list_or_one(what, {"anyOf": [_choice("", words), _matching("", _any_case(words))]})


def _on() -> Schema:
    kinds = {kind.value: _patterns(kind, _kind_in_words(kind)) for kind in Kind}
    kinds["any"] = _described("Every kind; its only pattern is `*`.", {"const": "*"})
    return _described(
        "Patterns of relations, as `schema.name`, or a map from kind to patterns.",
        {"anyOf": [_patterns(Kind.TABLE, ""), _map("", [*Kind, "any"], kinds)]},
    )


def _kind_in_words(kind: Kind) -> str:
    privileges = ", ".join(p + ("(columns)" if columned(kind, p) else "") for p in PRIVILEGES_OF[kind])
    return f"Privileges: {privileges}."


def columned(kind: Kind, privilege: Privilege) -> bool:
    """Whether rules may name columns."""
    return kind is Kind.TABLE and privilege in COLUMN_PRIVILEGES


_PART = r"""(?:"(?:[^"]|"")*"|\*|[^\s"*.A-Z!#%&'()+,/:;<=>?@\[\\\]^`{|}~-]+)+"""
"""A part of a name as SQL writes it: quoted, or in lower case; `*` is any run of characters."""


def _patterns(kind: Kind, what: str) -> Schema:
    if kind is Kind.FUNCTION:
        return _list_or_one(what, _matching("", rf"^{_PART}\.{_PART}(?:\([^()]*\))?$"))
    if kind in QUALIFIED:
        return _list_or_one(what, _matching("", rf"^{_PART}\.{_PART}$"))
    return _words(what) if kind in UNSPLIT else _list_or_one(what, _matching("", f"^{_PART}$"))


def _columns() -> Schema:
    label = _word("A label of `labels`.")
    inside = {"anyOf": [_words(""), _map("", COLUMNS_KEYS[:1], {"label": label})]}
    named = _map("", COLUMNS_KEYS, {"label": label, "except": _described("All columns but these.", inside)})
    return _described(
        "Names or patterns of columns, `{except: […]}` or `{label: …}`; with privileges that have columns.",
        {"anyOf": [_words(""), {**named, "maxProperties": 1}]},
    )


def _approvers() -> Schema:
    people = {
        "group": _words("Groups whose members may approve, by name.", "^[^*]+$"),
        "user": _words("Users who may approve, by name.", "^[^*]+$"),
    }
    keys = {
        **people,
        "count": _count("How many different people must approve; 1 where it is not said."),
        "alone": _map("For break-glass: one of these suffices.", PEOPLE_KEYS, people),
    }
    somebody = [{"required": [key]} for key in (*PEOPLE_KEYS, "alone")]
    return {**_map("Who may approve; nobody their own statement.", APPROVERS_KEYS, keys), "anyOf": somebody}


# conditions


def _when() -> Schema:
    return _list_or_one(
        "A map of conditions, all of which must hold, or a list of such maps, any of which must hold.",
        {"$ref": "#/definitions/one_when"},
    )


_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_COMPARES = r"^\s*(?:<=|>=|!=|<|>|=)\s*"


def _one_when() -> Schema:
    one_day = f"(?:{'|'.join(map(_folded, DAYS))})"
    keys = {
        "days": _words("Days of the week, as `mon-fri` or `[sat, sun]`.", rf"^{one_day}(?:-{one_day})?$"),
        "hours": _words(
            'Hours, as "08:00-18:00": half open; "22:00-06:00" wraps and belongs to the day on which it begins.',
            r"^\d{1,2}:\d\d-\d{1,2}:\d\d$",
        ),
        "dates": _words("Dates, as 2026-01-01..2026-12-31: inclusive; either side may be left out.", _DATES),
        "timezone": _word("The IANA time zone of days, hours and dates; UTC where it is not said."),
        "from": _words("Networks of the client's address.", r"^[0-9a-fA-F:.]+(?:%[^/]+)?(?:/[0-9.]+)?$"),
        "application": _words("Patterns of application_name: a hint, not proof."),
        "transport": _list_or_one("How the client is connected.", _choice("", Transport)),
        "ticket": _ticket(),
        "statement": _statement(),
        "transaction": _transaction(),
        "estimated_rows": _described(
            'The planner\'s estimate compares so: "> 1000".',
            {"anyOf": [{"type": "number"}, _matching("", f"{_COMPARES}{_NUMBER}\\s*$")]},
        ),
        "reason": _words("Patterns of the session's pgguard.reason; unset or empty matches nothing."),
        "state": _named(
            'Named probes compare so: "< 30", false, "release-*"; of a list any one.',
            _list_or_one("", {"type": ["string", "number", "boolean"], "minLength": 1}),
        ),
        "is": _words("Named conditions, all of which must hold."),
    }
    one = _map("Conditions, all of which must hold.", CONDITION_KEYS, keys)
    zoned: Schema = {"anyOf": [{"required": [key]} for key in ("days", "hours", "dates")]}
    return {**one, "dependencies": {"timezone": zoned}}


_DATES = r"^(?:\d{4}-\d{2}-\d{2}(?:\.\.(?:\d{4}-\d{2}-\d{2})?)?|\.\.\d{4}-\d{2}-\d{2})$"


def _ticket() -> Schema:
    keys = {
        "indicator": _words("Carries one of these Kerberos authentication indicators."),
        "max_age": _duration("At most this long since the initial authentication."),
        "min_left": _duration("At least this long before it ends."),
    }
    return _map("The client's Kerberos ticket.", TICKET_KEYS, keys)


def _statement() -> Schema:
    equals = _map("", WHERE_KEYS, {"equals": _words("Columns that the WHERE fixes by column = constant or parameter.")})
    keys = {
        "where": _described(
            "The WHERE of each select, update or delete.", {"anyOf": [_choice("", WHERE_WORDS), equals]}
        ),
        "kind": _words("Patterns of the command tag, as in CommandComplete, in any case."),
        "shape": _words("Statements: equal but for constants, case, spacing, comments and qualification."),
    }
    return _map("The statement itself.", STATEMENT_KEYS, keys)


def _transaction() -> Schema:
    keys = {
        "block": _described(
            "Whether a transaction block is open. Unknown of a string that begins or ends one.", {"type": "boolean"}
        ),
        "read_only": _described(
            "Whether the transaction is read only. Unknown of a string that may change it.", {"type": "boolean"}
        ),
    }
    return _map("The transaction in which the statement runs.", TRANSACTION_KEYS, keys)


# pieces


def _map(
    what: str,
    known: Iterable[str],
    keys: Mapping[str, Schema],
    *,
    required: Iterable[str] = (),
) -> Schema:
    """A map of the keys that its reader knows. Raises ValueError where `keys` are others."""
    known = [str(key) for key in known]
    if set(known) != keys.keys():
        raise ValueError(f"the schema and the reader differ in {set(known) ^ keys.keys()}")
    found: Schema = {"type": "object", "minProperties": 1, "additionalProperties": False}
    if required := list(required):
        found["required"] = required
    return _described(what, {**found, "properties": {key: keys[key] for key in known}})


def _described(what: str, found: Schema) -> Schema:
    return {"description": what, **found} if what else found


def _named(what: str, value: Schema) -> Schema:
    """A map of names of the user's own."""
    return _described(what, {"type": "object", "minProperties": 1, "additionalProperties": value})


_ONE_LINE = r"^\S(?:[^\t\r\n]*\S)?$"


def _list_or_one(what: str, one: Schema) -> Schema:
    return _described(what, {"anyOf": [one, {"type": "array", "minItems": 1, "items": one}]})


def _word(what: str) -> Schema:
    return _described(what, {"type": "string", "minLength": 1})


def _words(what: str, pattern: str | None = None) -> Schema:
    return _list_or_one(what, _word("") if pattern is None else _matching("", pattern))


def _matching(what: str, pattern: str) -> Schema:
    return _described(what, {"type": "string", "pattern": pattern})


def _choice(what: str, words: Iterable[str]) -> Schema:
    return _described(what, {"enum": [str(word) for word in words]})


def _count(what: str) -> Schema:
    return _described(what, {"type": "integer", "minimum": 1, "maximum": LARGEST_COUNT})


def _duration(what: str) -> Schema:
    return _described(what, {"type": "string", "pattern": r"^(?=[\d.]*[1-9])\d+(?:\.\d+)?\s*(?:ms|s|m|h|d)$"})


def _any_case(words: Iterable[str]) -> str:
    return f"^(?:{'|'.join(_folded(word) for word in words)})$"


def _folded(word: str) -> str:
    """A pattern of the word in any case: JSON Schema's patterns have no flag for it."""
    return "".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in word)
