"""Reading `rules:` (rule-language, section 3)."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from pgguard.model.access import COLUMN_PRIVILEGES, PRIVILEGES_OF, Kind, Privilege
from pgguard.model.decision import Approvers, Covers, Effect, Redaction
from pgguard.policy.condition_reader import ConditionReader, is_date
from pgguard.policy.conditions import AllOf, Condition, Not
from pgguard.policy.patterns import NamePattern, plain_name, qualified, unqualified
from pgguard.policy.problems import Place, suggest
from pgguard.policy.reading import Reader
from pgguard.policy.rule import ColumnPattern, Columns, Mode, Rule, Target, Who
from pgguard.policy.tree import Mapping, Node, Scalar, plain

EFFECTS = ("allow", "deny", "hold")
_COMMON = ("name", "who", *EFFECTS, "on", "columns", "database", "when", "unless", "mode", "redact")
KEYS_WITH = {
    Effect.ALLOW: ("max_rows", "until", "owner"),
    Effect.DENY: ("message",),
    Effect.HOLD: ("message", "approvers", "timeout", "covers", "for"),
}
"""The keys that belong to one effect alone, or to two."""
RULE_KEYS = (*_COMMON, *dict.fromkeys(key for keys in KEYS_WITH.values() for key in keys))
REQUIRED_KEYS = ("name", "who", "on")
WHO_KEYS = ("user", "group", "principal", "not")
GROUP_KEYS = ("all",)
COLUMNS_KEYS = ("label", "except")
PEOPLE_KEYS = ("group", "user")
APPROVERS_KEYS = (*PEOPLE_KEYS, "count", "alone")

_DDL = frozenset({Privilege.CREATE, Privilege.ALTER, Privilege.DROP})
PRIVILEGE_GROUPS: dict[str, frozenset[Privilege]] = {
    "read": frozenset({Privilege.SELECT, Privilege.READ}),
    "write": frozenset({
        Privilege.INSERT, Privilege.UPDATE, Privilege.DELETE, Privilege.TRUNCATE, Privilege.WRITE,
    }),
    "ddl": _DDL,
}  # fmt: skip
QUALIFIED = frozenset({
    Kind.TABLE, Kind.SEQUENCE, Kind.FUNCTION, Kind.TYPE, Kind.COLLATION, Kind.CONVERSION, Kind.OPERATOR,
    Kind.OPERATOR_CLASS, Kind.OPERATOR_FAMILY, Kind.TEXT_SEARCH,
})  # fmt: skip
UNSPLIT = frozenset({Kind.SETTING, Kind.SERVER, Kind.LARGE_OBJECT, Kind.OPAQUE, Kind.CHANNEL, Kind.CAST})
_PRIVILEGES = [privilege.value for privilege in Privilege]


class RuleReader:
    """Reads rules; `labels` are those defined at top level; `names` gathers the rules' own over all files."""

    def __init__(
        self,
        reader: Reader,
        conditions: ConditionReader,
        labels: dict[str, tuple[ColumnPattern, ...]],
        names: dict[str, Place],
        *,
        baseline: bool,
    ) -> None:
        self._reader = reader
        self._conditions = conditions
        self._labels = labels
        self._names = names
        self._baseline = baseline
        self._said: dict[str, Condition | None] = {}
        """Conditions by what they say: rules that say the same share one, and it is asked once a decision."""

    def read(self, node: Node) -> Rule | None:
        mapping = self._reader.mapping(node, "rule")
        if mapping is None:
            return None
        before = len(self._reader.problems.found)
        self._reader.known_keys(mapping, RULE_KEYS, "rule")
        name_node, who_node = (self._required(mapping, key) for key in ("name", "who"))
        name = None if name_node is None else self._name(name_node)
        who = None if who_node is None else self.who(who_node)
        effect = self._effect(mapping)
        if effect is None:
            return None
        targets = self._targets(mapping, effect)
        rule = Rule(
            name=name or "",
            effect=effect,
            who=who or Who(),
            targets=targets,
            place=mapping.place,
            canonical=canonical(mapping),
            condition=self._condition(mapping),
            columns=self._columns(mapping, targets),
            baseline=self._baseline,
            **self._extras(mapping, effect),
        )
        if effect is Effect.HOLD and not _someone(rule.approvers):
            self._reader.add(mapping.place, f'hold "{name}" has no approvers: nobody could approve it')
        elif effect is Effect.HOLD and _only_their_own(rule.who, rule.approvers):
            self._reader.add(mapping.place, f'hold "{name}" is approved by those whom it is about alone: nobody could')
        return rule if len(self._reader.problems.found) == before else None

    def _required(self, mapping: Mapping, key: str) -> Node | None:
        node = mapping.get(key)
        if node is None:
            self._reader.add(mapping.place, f'rule has no "{key}"')
        return node

    def _name(self, node: Node) -> str | None:
        name = self._reader.name(node, "name")
        if name is not None:
            first = self._names.setdefault(name, node.place)
            if first is not node.place:
                self._reader.add(node.place, f'rule "{name}" is defined twice; the first is at {first}')
        if name is not None and name.startswith("baseline/") is not self._baseline:
            what = 'must begin with "baseline/" here' if self._baseline else 'may not begin with "baseline/"'
            self._reader.add(node.place, f'name "{name}" {what}')
        return name

    def _effect(self, mapping: Mapping) -> Effect | None:
        written = [key for key in EFFECTS if mapping.get(key) is not None]
        if len(written) != 1:
            found = " and ".join(written) or "none"
            self._reader.add(mapping.place, f"a rule has exactly one of allow, deny, hold; here: {found}")
            return None
        effect = Effect(written[0])
        if self._baseline and effect is not Effect.ALLOW:
            self._reader.add(mapping.place_of(effect), "a baseline has allow rules only")
        for other, keys in KEYS_WITH.items():
            for key in keys:
                if key not in KEYS_WITH[effect] and mapping.get(key) is not None and other is not effect:
                    self._reader.add(mapping.place_of(key), f'"{key}" does not belong to {effect}')
        return effect

    # who

    def who(self, node: Node, *, inside: bool = False) -> Who | None:
        if isinstance(node, Scalar):
            if node.value == "everyone" and not inside:
                return Who()
            self._reader.add(node.place, f'who is "everyone" or a map, as {{group: {node.text or "dba"}}}')
            return None
        mapping = self._reader.mapping(node, "not" if inside else "who")
        if mapping is None:
            return None
        self._reader.known_keys(mapping, WHO_KEYS[:-1] if inside else WHO_KEYS, "who")
        users, groups, principals = (mapping.get(key) for key in ("user", "group", "principal"))
        exclude = None if inside else mapping.get("not")
        all_groups = groups.get("all") if isinstance(groups, Mapping) else None
        if isinstance(groups, Mapping):
            if self._reader.mapping(groups, "group") is not None:
                self._reader.known_keys(groups, GROUP_KEYS, "group")
            groups = None
        return Who(
            users=None if users is None else self._reader.globs(users, "user"),
            groups=None if groups is None else self._reader.globs(groups, "group", ignore_case=True),
            all_groups=None if all_groups is None else self._reader.globs(all_groups, "group", ignore_case=True),
            principals=None if principals is None else self._reader.globs(principals, "principal"),
            exclude=None if exclude is None else self.who(exclude, inside=True),
        )

    # on

    def _targets(self, mapping: Mapping, effect: Effect) -> tuple[Target, ...]:
        node = mapping.get("on")
        if node is None:
            self._reader.add(mapping.place, 'rule has no "on"')
            return ()
        privileges_node = mapping.get(effect)
        assert privileges_node is not None, "the effect was found"
        written = self._reader.words(privileges_node, effect)
        if not isinstance(node, Mapping):
            return self._kind_targets([(node.place, Kind.TABLE.value, node)], written, effect)
        if self._reader.mapping(node, "on") is None:
            return ()
        kinds = [(entry.place, entry.key, entry.value) for entry in node.entries]
        return self._kind_targets(kinds, written, effect)

    def _kind_targets(
        self, kinds: list[tuple[Place, str, Node]], written: Iterable[tuple[Place, str]], effect: Effect
    ) -> tuple[Target, ...]:
        written = list(written)
        used: set[str] = set()
        targets = []
        for place, key, node in kinds:
            if key not in [*Kind, "any"]:
                self._reader.add(place, f'unknown kind "{key}"{suggest(key, [*Kind, "any"])}')
                used.update(word.lower() for _, word in written)
                continue
            kind = None if key == "any" else Kind(key)
            privileges: set[Privilege] = set()
            for at, word in written:
                found = self._privileges(at, word.lower(), kind, effect)
                if found:
                    used.add(word.lower())
                privileges |= found
            patterns = self._reader.patterns(node, "pattern", _pattern_of(kind))
            if kind is None and any(pattern.source != "*" for pattern in patterns):
                self._reader.add(node.place, 'the only pattern of "any" is "*"')
            if not privileges and len(kinds) > 1 and written:
                asked = ", ".join(word for _, word in written)
                self._reader.add(place, f"of {asked} none is a privilege of kind {key}: this part would say nothing")
            targets.append(Target(kind, frozenset(privileges), patterns))
        named = ", ".join(key for _, key, _ in kinds)
        for at, word in written:
            if word.lower() not in used and (word.lower() in _PRIVILEGES or word.lower() in {*PRIVILEGE_GROUPS, "all"}):
                self._reader.add(at, f'{named} has no privilege "{word}"')
        return tuple(targets)

    def _privileges(self, place: Place, word: str, kind: Kind | None, effect: Effect) -> frozenset[Privilege]:
        of_kind = frozenset(Privilege) if kind is None else frozenset(PRIVILEGES_OF[kind])
        if word == "all":
            return of_kind if effect is not Effect.ALLOW or kind is None else of_kind - _DDL - {Privilege.GRANT}
        if word in PRIVILEGE_GROUPS:
            return PRIVILEGE_GROUPS[word] & of_kind
        if word not in _PRIVILEGES:
            self._reader.add(
                place, f'unknown privilege "{word}"{suggest(word, [*_PRIVILEGES, *PRIVILEGE_GROUPS, "all"])}'
            )
            return of_kind
        return frozenset({Privilege(word)}) & of_kind

    # columns

    def _columns(self, mapping: Mapping, targets: tuple[Target, ...]) -> Columns | None:
        node = mapping.get("columns")
        if node is None:
            return None
        for target in targets:
            without = sorted(target.privileges - COLUMN_PRIVILEGES)
            if target.kind is not Kind.TABLE or without:
                what = ", ".join(without) or f"kind {target.kind or 'any'}"
                self._reader.add(
                    mapping.place_of("columns"), f"columns go with select, insert, update, references; not {what}"
                )
                return None
        return self.columns(node)

    def columns(self, node: Node, *, excepted: bool = False) -> Columns | None:
        if not isinstance(node, Mapping):
            return Columns(names=self._reader.globs(node, "columns"), excepted=excepted)
        if self._reader.mapping(node, "columns") is None:
            return None
        self._reader.known_keys(node, COLUMNS_KEYS[:1] if excepted else COLUMNS_KEYS, "columns")
        inside, label = node.get("except"), node.get("label")
        if inside is not None and label is not None:
            self._reader.add(node.place_of("label"), 'columns have "label" or "except"; write {except: {label: pii}}')
        if inside is not None and not excepted:
            return self.columns(inside, excepted=True)
        if label is None:
            return None
        word = self._reader.choice(label, "label", self._labels)
        return None if word is None else Columns(label=word, patterns=self._labels[word], excepted=excepted)

    # when

    def _condition(self, mapping: Mapping) -> Condition | None:
        when, unless = mapping.get("when"), mapping.get("unless")
        said = " unless ".join("" if node is None else canonical(node) for node in (when, unless))
        return self._said.setdefault(said, self._read_condition(when, unless))

    def _read_condition(self, when: Node | None, unless: Node | None) -> Condition | None:
        found = [] if when is None else [self._conditions.read(when, "when")]
        if unless is not None:
            condition = self._conditions.read(unless, "unless")
            found += [] if condition is None else [Not(condition)]
        present = tuple(condition for condition in found if condition is not None)
        return None if not present else present[0] if len(present) == 1 else AllOf(present)

    # the rest

    def _extras(self, mapping: Mapping, effect: Effect) -> dict[str, Any]:  # noqa: C901  # one case a key reads best
        reader = self._reader
        extras: dict[str, Any] = {}
        for entry in mapping.entries:
            node = entry.value
            match entry.key:
                case "database":
                    extras["databases"] = reader.globs(node, "database")
                case "message" | "owner":
                    extras[entry.key] = reader.word(node, entry.key)
                case "max_rows":
                    extras["max_rows"] = reader.count(node, "max_rows")
                case "mode":
                    extras["mode"] = Mode(reader.choice(node, "mode", list(Mode)) or Mode.ENFORCE)
                case "redact":
                    extras["redact"] = Redaction(reader.choice(node, "redact", list(Redaction)) or Redaction.DROP)
                case "until":
                    extras["until"] = self._until(node)
                case "timeout":
                    extras["timeout"] = reader.duration(node, "timeout") or 0.0
                case "for":
                    extras["lasts"] = reader.duration(node, "for")
                case "covers":
                    extras["covers"] = Covers(reader.choice(node, "covers", list(Covers)) or Covers.STATEMENT)
                case "approvers":
                    extras["approvers"] = self._approvers(node)
        if effect is Effect.HOLD and (extras.get("covers") is Covers.SESSION) is not ("lasts" in extras):
            reader.add(mapping.place, '"covers: session" and "for: 30m" go together')
        return extras

    def _until(self, node: Node) -> str | None:
        text = node.text if isinstance(node, Scalar) else ""
        if not is_date(text):
            self._reader.add(node.place, f'until "{text}" is no date; write YYYY-MM-DD')
        return text

    def _approvers(self, node: Node) -> Approvers:
        mapping = self._reader.mapping(node, "approvers")
        if mapping is None:
            return Approvers()
        self._reader.known_keys(mapping, APPROVERS_KEYS, "approvers")
        groups, users = self._people(mapping)
        alone = mapping.get("alone")
        alone_map = None if alone is None else self._reader.mapping(alone, "alone")
        if alone_map is not None:
            self._reader.known_keys(alone_map, PEOPLE_KEYS, "alone")
        alone_groups, alone_users = ((), ()) if alone_map is None else self._people(alone_map)
        count = mapping.get("count")
        number = 1 if count is None else self._reader.count(count, "count") or 1
        if users and not groups and number > len(set(users)) and not (alone_groups or alone_users):
            self._reader.add(mapping.place, f"{number} approvals of {len(set(users))} users: nobody could approve it")
        return Approvers(groups, users, number, alone_groups, alone_users)

    def _people(self, mapping: Mapping) -> tuple[tuple[str, ...], tuple[str, ...]]:
        groups, users = mapping.get("group"), mapping.get("user")
        return (
            () if groups is None else tuple(word.lower() for word in self._names_of_people(groups, "group")),
            () if users is None else tuple(self._names_of_people(users, "user")),
        )

    def _names_of_people(self, node: Node, what: str) -> Iterator[str]:
        for place, word in self._reader.words(node, what):
            if "*" in word:
                self._reader.add(place, f'{what} "{word}" has a "*", but approvers are named one by one')
            yield word


def _pattern_of(kind: Kind | None) -> Callable[[str], NamePattern]:
    if kind in QUALIFIED:
        return lambda text: qualified(text, function=kind is Kind.FUNCTION)
    if kind is None or kind in UNSPLIT:
        return lambda text: plain_name(text, ignore_case=kind is Kind.SETTING)
    return unqualified


def _someone(approvers: Approvers) -> bool:
    return bool(approvers.groups or approvers.users or approvers.alone_groups or approvers.alone_users)


def _only_their_own(who: Who, approvers: Approvers) -> bool:
    """Whether each of the users whom a hold is about, all written out, lacks approvers once they are left out."""
    if not who.users or approvers.groups or approvers.alone_groups:
        return False
    requesters = [matcher.literal for matcher in who.users]
    regular, alone = set(approvers.users), set(approvers.alone_users)
    return all(one is not None and len(regular - {one}) < approvers.count and not (alone - {one}) for one in requesters)


def canonical(node: Node) -> str:
    """A text that is equal for rules that say the same: keys sorted, comments and layout gone."""
    return msgspec.json.encode(plain(node), order="sorted").decode()
