"""Rule files to a RuleSet: whole or not at all, with every error at once.

A file is a map of `rules`, `conditions`, `probes`, `labels` and `redact`; their names are known in all files. So a load
reads all files first, then the definitions, then the rules.
"""

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from pgguard.model.decision import Redaction
from pgguard.policy.condition_reader import ConditionReader, Shaper
from pgguard.policy.conditions import Condition
from pgguard.policy.patterns import PatternError, column, glob
from pgguard.policy.probes import Probe, read_probe
from pgguard.policy.problems import Place, Problems, RulesInvalid, suggest
from pgguard.policy.reading import Reader
from pgguard.policy.rule import ColumnPattern, Rule
from pgguard.policy.rule_reader import RuleReader, canonical
from pgguard.policy.rule_set import RuleSet
from pgguard.policy.tree import Entry, Items, Mapping, Node, read_tree

MAX_RULES = 10_000
TOP_KEYS = ("rules", "conditions", "probes", "labels", "redact")
LABEL_KEYS = ("comment",)
HIDDEN = (Redaction.HASH, Redaction.DROP)
"""What a label may ask for: one that keeps would ask for nothing."""


class RuleFile(msgspec.Struct, frozen=True):
    """One file: its path as errors shall name it, and its bytes."""

    path: str
    content: bytes


def load(files: Sequence[RuleFile], baseline: Sequence[RuleFile], shaper: Shaper) -> RuleSet:
    """The rule set of these files. `shaper` tells a statement's shape, for the condition of that name.

    Raises RulesInvalid with all problems.
    """
    return _Load(shaper).load(files, baseline)


class _Load:
    def __init__(self, shaper: Shaper) -> None:
        self._problems = Problems()
        self._reader = Reader(self._problems)
        self._shaper = shaper

    def load(self, files: Sequence[RuleFile], baseline: Sequence[RuleFile]) -> RuleSet:
        own = self._trees(files, TOP_KEYS)
        base = self._trees(baseline, TOP_KEYS[:1])
        probes = self._probes(own)
        labels = self._labels(own)
        redacted = self._redacted(own, labels)
        conditions = self._conditions(own, frozenset(probes))
        reading = ConditionReader(self._reader, self._shaper, conditions, frozenset(probes))
        names: dict[str, Place] = {}
        rules = [
            *self._rules(base, RuleReader(self._reader, reading, labels, names, baseline=True)),
            *self._rules(own, RuleReader(self._reader, reading, labels, names, baseline=False)),
        ]
        if self._problems.found:
            raise RulesInvalid(self._problems.found)
        return RuleSet(rules, probes, labels, conditions, redacted, _identity(rules, own))

    def _trees(self, files: Sequence[RuleFile], known: tuple[str, ...]) -> list[Mapping]:
        trees = []
        for file in files:
            before = len(self._problems.found)
            tree = read_tree(file.path, file.content, self._problems)
            if isinstance(tree, Mapping):
                if len(self._problems.found) == before:
                    self._reader.mapping(tree, "the file's map")
                self._reader.known_keys(tree, known, "file")
                trees.append(tree)
            elif tree is not None:
                self._problems.add(tree.place, f"a rule file is a map of {', '.join(known)}")
        return trees

    def _definitions(self, trees: Iterable[Mapping], key: str) -> list[Entry]:
        """The entries of one top-level map over all files; a name defined twice is an error."""
        found: dict[str, Entry] = {}
        for tree in trees:
            node = tree.get(key)
            mapping = None if node is None else self._reader.mapping(node, key)
            for entry in () if mapping is None else mapping.entries:
                if entry.key in found:
                    first = found[entry.key].place
                    self._problems.add(entry.place, f'{key}: "{entry.key}" is defined twice; the first is at {first}')
                else:
                    found[entry.key] = entry
        return list(found.values())

    def _probes(self, trees: list[Mapping]) -> dict[str, Probe]:
        read = {entry.key: read_probe(self._reader, entry) for entry in self._definitions(trees, "probes")}
        return {name: probe for name, probe in read.items() if probe is not None}

    def _labels(self, trees: list[Mapping]) -> dict[str, tuple[ColumnPattern, ...]]:
        labels = {}
        for entry in self._definitions(trees, "labels"):
            patterns = (self._label(node) for node in self._reader.listed(entry.value, "label"))
            labels[entry.key] = tuple(pattern for pattern in patterns if pattern is not None)
        return labels

    def _redacted(self, trees: list[Mapping], labels: dict[str, tuple[ColumnPattern, ...]]) -> dict[str, Redaction]:
        """Labels of columns that the audit is to hide."""
        redacted = {}
        for entry in self._definitions(trees, "redact"):
            if entry.key not in labels:
                self._problems.add(entry.place, f'unknown label "{entry.key}"{suggest(entry.key, labels)}')
            word = self._reader.choice(entry.value, "redact", HIDDEN)
            redacted[entry.key] = Redaction(word or Redaction.DROP)
        return {label: redaction for label, redaction in redacted.items() if label in labels}

    def _label(self, node: Node) -> ColumnPattern | None:
        if isinstance(node, Mapping):
            if self._reader.mapping(node, "label") is None:
                return None
            self._reader.known_keys(node, LABEL_KEYS, "label")
            comment = node.get("comment")
            word = None if comment is None else self._reader.word(comment, "comment")
            return None if word is None else ColumnPattern(word, comment=glob(word))
        word = self._reader.word(node, "label")
        try:
            return None if word is None else ColumnPattern(word, *column(word))
        except PatternError as error:
            self._problems.add(node.place, str(error))
            return None

    def _conditions(self, trees: list[Mapping], probes: frozenset[str]) -> dict[str, Condition]:
        """Named conditions; each may use others, without cycles: read as soon as all it uses are."""
        waiting = {entry.key: entry for entry in self._definitions(trees, "conditions")}
        done: dict[str, Condition] = {}
        while waiting:
            ready = [n for n, e in waiting.items() if not (_uses(e.value) & waiting.keys())]
            if not ready:
                for entry in waiting.values():
                    self._problems.add(entry.place, f'condition "{entry.key}" uses itself, directly or through others')
                break
            for name in ready:
                entry = waiting.pop(name)
                reading = ConditionReader(self._reader, self._shaper, done, probes)
                condition = reading.read(entry.value, f'condition "{name}"')
                if condition is not None:
                    done[name] = condition
        return done

    def _rules(self, trees: list[Mapping], reader: RuleReader) -> list[Rule]:
        rules: list[Rule] = []
        count = 0
        for tree in trees:
            node = tree.get("rules")
            if node is None:
                continue
            if not isinstance(node, Items):
                self._problems.add(node.place, "rules must be a list")
                continue
            count += len(node.items)
            if count > MAX_RULES:
                over = node.items[MAX_RULES - count]
                self._problems.add(over.place, f"more than {MAX_RULES} rules; gather some by lists or patterns")
                break
            for item in node.items:
                rule = reader.read(item)
                rules += [] if rule is None else [rule]
        return rules


def _uses(node: Node) -> set[str]:
    """The named conditions that a condition's `is` names."""
    if isinstance(node, Items):
        return set().union(*(_uses(item) for item in node.items)) if node.items else set()
    if not isinstance(node, Mapping):
        return set()
    node_is = node.get("is")
    if node_is is None:
        return set()
    items = node_is.items if isinstance(node_is, Items) else (node_is,)
    return {item.text for item in items if not isinstance(item, Items | Mapping)}


def _identity(rules: list[Rule], trees: list[Mapping]) -> str:
    """SHA-256 over the canonical form: what the rules and definitions say, in an order of its own."""
    parts = sorted(rule.canonical for rule in rules)
    for key in TOP_KEYS[1:]:
        maps = [node for tree in trees if isinstance(node := tree.get(key), Mapping)]
        parts += sorted(f"{key}:{entry.key}:{canonical(entry.value)}" for node in maps for entry in node.entries)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
