"""Learning rules: the fewest, and the most readable, that allow what people did. For review, never for use unread.

Theory of operation. What the baseline does not allow of each access is a need: someone, a privilege, an object,
columns. For each privilege on each object the users who need it are covered by groups, as few as do it: first groups
all of whose members that were seen need it, then such of which at least half do, so that a team reads as a team and no
one's visit opens a table to a whole department; whoever is left is named. What then says the same is gathered:
privileges on one object, objects of one privilege, groups.

A catalog can only make rules shorter: where every column of a table was used, `columns` is left out, and where all
tables of a schema came to one rule, the schema stands for them.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from pgguard.model.access import Access, Kind, ObjectName, Privilege
from pgguard.model.context import Context
from pgguard.model.decision import AccessDecision, Decision, Effect
from pgguard.model.facts import Facts
from pgguard.policy.decide import decide
from pgguard.policy.rule_reader import QUALIFIED, UNSPLIT
from pgguard.policy.rule_set import RuleSet
from pgguard.policy.warnings import Table

_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_$]*")
_PLAIN_SCALAR = re.compile(r"[A-Za-z_][A-Za-z0-9_.$/@-]*")
_NOT_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "everyone"})
_ORDER = {privilege: number for number, privilege in enumerate(Privilege)}


class Need(msgspec.Struct, frozen=True):
    """What a user must be allowed. `columns`: None where the privilege has none; () where any one does."""

    user: str
    database: str
    privilege: Privilege
    kind: Kind
    object: ObjectName
    columns: tuple[str, ...] | None
    any_column: str | None = None


class LearnedRule(msgspec.Struct, frozen=True):
    """One rule, in the words of a rule file. Exactly one of `groups` and `users` is given; `database` None is any."""

    groups: tuple[str, ...]
    users: tuple[str, ...]
    database: str | None
    kind: Kind
    privileges: tuple[Privilege, ...]
    patterns: tuple[str, ...]
    columns: tuple[str, ...] | None
    notes: tuple[str, ...] = ()


def needs_of(facts: Iterable[Facts], context: Context, baseline: RuleSet) -> Iterator[Need]:
    """What of these statements the baseline does not allow."""
    for found in decide(baseline, tuple(facts), context).accesses:
        if found.effect is Effect.DENY:
            yield _need(found, context)


def _need(found: AccessDecision, context: Context) -> Need:
    access = found.access
    if access.temporary:
        temp = (Privilege.TEMP, Kind.DATABASE, ObjectName(context.database))
        return Need(context.user, context.database, *temp, None)
    columns = found.missing or access.columns
    any_column = access.candidates[0] if access.columns == () and access.candidates else None
    return Need(
        context.user, context.database, access.privilege, access.kind, access.object,
        None if columns == () and any_column is None else columns, any_column,
    )  # fmt: skip


def learn(
    needs: Iterable[Need], groups: Mapping[str, frozenset[str]], tables: Sequence[Table] | None
) -> list[LearnedRule]:
    """`groups`: of each user, those they had in all that was seen. `tables`: of the catalog, where one is known."""
    needs = list(needs)
    databases = {need.database for need in needs}
    grants = _grants(needs, _Crowd(groups), only=len(databases) < 2)
    if tables is not None:
        grants = _unlisted(grants, tables)
    rules = _folded(_gathered(grants), tables or ())
    return sorted(rules, key=_place)


def _place(rule: LearnedRule) -> tuple[bool, tuple[str, ...], tuple[str, ...], Kind, tuple[str, ...], list[int]]:
    """Groups before users, and each one's tables together."""
    privileges = [_ORDER[privilege] for privilege in rule.privileges]
    return not rule.groups, rule.groups, rule.users, rule.kind, rule.patterns, privileges


# who


class _Crowd:
    """The users that were seen and their groups."""

    def __init__(self, groups: Mapping[str, frozenset[str]]) -> None:
        self._groups = groups
        self._members: dict[str, set[str]] = defaultdict(set)
        for user, theirs in groups.items():
            for group in theirs:
                self._members[group].add(user)

    def cover(self, users: set[str], liked: Counter[str]) -> list[tuple[str, set[str]]]:
        """Groups with those of the users they cover; `liked`: how many needs each group could serve."""
        left = set(users)
        chosen: list[tuple[str, set[str]]] = []
        while True:
            fitting = [group for group in self.fitting(users) if self._members[group] & left]
            if not fitting:
                return chosen
            best = min(fitting, key=lambda group: self._worth(group, users, left, liked))
            chosen.append((best, self._members[best] & users))
            left -= self._members[best]

    def _worth(
        self, group: str, users: set[str], left: set[str], liked: Counter[str]
    ) -> tuple[bool, int, int, int, str]:
        """The less the better: first groups that are no wider than what was seen, then those that cover more."""
        members = self._members[group]
        wider = len(members - users)
        return wider > 0, -len(members & left), wider, -liked[group], group

    def fitting(self, users: set[str]) -> set[str]:
        """The groups of which at least half of the members that were seen are among the users."""
        near = {group for user in users for group in self._groups.get(user, ())}
        return {group for group in near if 2 * len(self._members[group] & users) >= len(self._members[group])}

    def note(self, group: str, users: set[str]) -> str:
        members = self._members[group]
        return "" if members <= users else f"{group}: {len(members & users)} of the {len(members)} members seen"


_What = tuple[str, Privilege, Kind, ObjectName]


class _Grant(msgspec.Struct, frozen=True):
    """One privilege on one object for one group or user."""

    group: str
    user: str
    database: str | None
    kind: Kind
    privilege: Privilege
    object: ObjectName
    columns: tuple[str, ...] | None
    note: str = ""


def _grants(needs: Sequence[Need], crowd: _Crowd, *, only: bool) -> list[_Grant]:
    by_what: dict[_What, list[Need]] = defaultdict(list)
    for need in needs:
        by_what[need.database, need.privilege, need.kind, need.object].append(need)
    wanted = {what: {need.user for need in found} for what, found in by_what.items()}
    liked = Counter(group for users in wanted.values() for group in crowd.fitting(users))
    grants = []
    for what, found in by_what.items():
        covered: set[str] = set()
        for group, users in crowd.cover(wanted[what], liked):
            covered |= users
            grants.append(_grant(what, found, users, group=group, note=crowd.note(group, users), only=only))
        left = sorted(wanted[what] - covered)
        grants += [_grant(what, found, {user}, user=user, only=only) for user in left]
    return grants


def _grant(  # noqa: PLR0913  # what, and for whom
    what: _What, needs: Iterable[Need], users: set[str], *, only: bool, group: str = "", user: str = "", note: str = ""
) -> _Grant:
    database, privilege, kind, name = what
    of_them = [need for need in needs if need.user in users]
    columns = {column for need in of_them for column in need.columns or ()}
    if not columns:
        columns = {need.any_column for need in of_them if need.any_column}
    whole = any(need.columns is None for need in of_them) or not columns
    return _Grant(
        group, user, None if only else database, kind, privilege, name, None if whole else tuple(sorted(columns)), note
    )


# gathering


def _unlisted(grants: Iterable[_Grant], tables: Iterable[Table]) -> list[_Grant]:
    """Without their columns, where these are all that the table has."""
    whole = {(table.schema, table.name): frozenset(table.columns) for table in tables}

    def unlisted(grant: _Grant) -> _Grant:
        columns = whole.get((grant.object.schema or "", grant.object.name))
        all_used = columns is not None and grant.columns is not None and columns <= set(grant.columns)
        return msgspec.structs.replace(grant, columns=None) if all_used and grant.kind is Kind.TABLE else grant

    return [unlisted(grant) for grant in grants]


def _gathered(grants: Iterable[_Grant]) -> list[LearnedRule]:
    privileges: dict[tuple[object, ...], list[_Grant]] = defaultdict(list)
    for grant in grants:
        key = (grant.group, grant.user, grant.database, grant.kind, grant.object, grant.columns)
        privileges[key].append(grant)
    objects: dict[tuple[object, ...], list[_Grant]] = defaultdict(list)
    for found in privileges.values():
        first = found[0]
        of_them = tuple(sorted({grant.privilege for grant in found}, key=_ORDER.__getitem__))
        objects[first.group, first.user, first.database, first.kind, first.columns, of_them] += found
    people: dict[tuple[object, ...], list[list[_Grant]]] = defaultdict(list)
    for (group, _, *rest), found in objects.items():
        people[bool(group), frozenset(grant.object for grant in found), *rest].append(found)
    return [_rule([grant for found in groups for grant in found]) for groups in people.values()]


def _rule(grants: Sequence[_Grant]) -> LearnedRule:
    first = grants[0]
    return LearnedRule(
        groups=tuple(sorted({grant.group for grant in grants if grant.group})),
        users=tuple(sorted({grant.user for grant in grants if grant.user})),
        database=first.database,
        kind=first.kind,
        privileges=tuple(sorted({grant.privilege for grant in grants}, key=_ORDER.__getitem__)),
        patterns=tuple(sorted({pattern_of(first.kind, grant.object) for grant in grants})),
        columns=first.columns,
        notes=tuple(sorted({grant.note for grant in grants if grant.note})),
    )


def _folded(rules: Iterable[LearnedRule], tables: Iterable[Table]) -> list[LearnedRule]:
    """With a schema in the place of all its tables, where it has more than one."""
    schemas: dict[str, set[str]] = defaultdict(set)
    for table in tables:
        schemas[table.schema].add(pattern_of(Kind.TABLE, ObjectName(table.name, table.schema)))

    def folded(rule: LearnedRule) -> LearnedRule:
        patterns = set(rule.patterns)
        if rule.kind is not Kind.TABLE or rule.columns is not None:
            return rule
        for schema, theirs in schemas.items():
            if len(theirs) > 1 and theirs <= patterns:
                patterns = patterns - theirs | {f"{_identifier(schema)}.*"}
        return msgspec.structs.replace(rule, patterns=tuple(sorted(patterns)))

    return [folded(rule) for rule in rules]


# writing


def pattern_of(kind: Kind, name: ObjectName) -> str:
    """The pattern for one object; where its plain name holds a `*`, which cannot be quoted, it matches more."""
    if kind in UNSPLIT:
        return name.name
    words = (
        [_identifier(name.name)] if kind not in QUALIFIED else [_identifier(name.schema or ""), _identifier(name.name)]
    )
    arguments = "" if name.arguments is None else f"({', '.join(name.arguments)})"
    return ".".join(words) + arguments


def _identifier(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def written(rules: Iterable[LearnedRule]) -> str:
    """The rules as a rule file's text."""
    names: Counter[str] = Counter()
    text = [line for rule in rules for line in _lines(rule, names)]
    return "\n".join(["rules:", *text]) + "\n" if text else "rules: []\n"


def _lines(rule: LearnedRule, names: Counter[str]) -> Iterator[str]:
    name = _name(rule)
    names[name] += 1
    key, people = ("group", rule.groups) if rule.groups else ("user", rule.users)
    on = _listed(rule.patterns)
    yield f"  - name: {name if names[name] == 1 else f'{name}-{names[name]}'}"
    yield from (f"    # {note}" for note in rule.notes)
    yield f"    who: {{{key}: {_listed(people)}}}"
    yield f"    allow: {_listed(privilege.value for privilege in rule.privileges)}"
    yield f"    on: {on if rule.kind is Kind.TABLE else f'{{{rule.kind.value}: {on}}}'}"
    if rule.columns is not None:
        yield f"    columns: {_listed(rule.columns, always=True)}"
    if rule.database is not None:
        yield f"    database: {_scalar(rule.database)}"


def _name(rule: LearnedRule) -> str:
    """`analysts-select-orders`: whose, the first privilege, the first object."""
    who = (rule.groups or rule.users)[0]
    words = f"{who}-{rule.privileges[0].value}-{rule.patterns[0].partition('(')[0]}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _listed(words: Iterable[str], *, always: bool = False) -> str:
    found = [_scalar(word) for word in words]
    return found[0] if len(found) == 1 and not always else f"[{', '.join(found)}]"


def _scalar(word: str) -> str:
    """A word in YAML; JSON's strings are YAML's."""
    plain = _PLAIN_SCALAR.fullmatch(word) and word.lower() not in _NOT_WORDS
    return word if plain else json.dumps(word, ensure_ascii=False)


def refused(seen: Iterable[tuple[Context, Access]], rules: RuleSet) -> list[tuple[Context, Access]]:
    """What of the accesses the rules do not allow."""
    return [
        (context, access) for context, access in seen if _decided(rules, access, context).effect is not Effect.ALLOW
    ]


def _decided(rules: RuleSet, access: Access, context: Context) -> Decision:
    return decide(rules, [Facts("", (access,))], context)
