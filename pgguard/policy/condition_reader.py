"""Reading `when` and `unless` (rule-language, section 3, "Conditions")."""

import re
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from datetime import date
from ipaddress import IPv6Network, ip_network
from math import isfinite
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pgguard.model.context import Transport
from pgguard.policy import conditions as c
from pgguard.policy.command_tags import COMMAND_TAGS
from pgguard.policy.patterns import Matcher, glob
from pgguard.policy.problems import Place, suggest
from pgguard.policy.reading import Reader
from pgguard.policy.tree import Mapping, Node, Scalar

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = ("days", "hours", "dates", "timezone")
_HOURS = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-4]):([0-5]\d)")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MAPPED = IPv6Network("::ffff:0:0/96")
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})
"""Files beside the zones: what they mean is the machine's own."""
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_OPERATOR_SIGNS = ("<", ">", "=", "!")
_COMPARISON = re.compile(r"(<=|>=|!=|<|>|=)\s*(.+)", re.DOTALL)

CONDITION_KEYS = (
    *_CLOCK, "from", "application", "transport", "ticket", "statement", "transaction", "estimated_rows", "reason",
    "state", "is",
)  # fmt: skip
TICKET_KEYS = ("indicator", "max_age", "min_left")
STATEMENT_KEYS = ("where", "kind", "shape")
WHERE_KEYS = ("equals",)
WHERE_WORDS = ("absent", "present")
TRANSACTION_KEYS = ("block", "read_only")

Shaper = Callable[[str], str | None]
"""The shape of a statement; None where it does not parse."""


class ConditionReader:
    """Reads conditions; `named` are those defined at top level, `probes` the names of the probes."""

    def __init__(
        self, reader: Reader, shaper: Shaper, named: MappingType[str, c.Condition], probes: frozenset[str]
    ) -> None:
        self._reader = reader
        self._shaper = shaper
        self._named = named
        self._probes = probes

    def read(self, node: Node, what: str) -> c.Condition | None:
        """A map of conditions, all of which must hold, or a list of such maps."""
        maps = [self._all_of(item, what) for item in self._reader.listed(node, what)]
        found = tuple(condition for condition in maps if condition is not None)
        return found[0] if len(found) == 1 else c.AnyOf(found)

    def _all_of(self, node: Node, what: str) -> c.Condition | None:
        mapping = self._reader.mapping(node, what)
        if mapping is None:
            return None
        self._reader.known_keys(mapping, CONDITION_KEYS, what)
        found: list[c.Condition | None] = [self._clock(mapping)]
        for entry in mapping.entries:
            read = getattr(self, f"_read_{entry.key}", None)
            if read is not None and entry.key in CONDITION_KEYS:
                found.append(read(entry.value))
        present = tuple(condition for condition in found if condition is not None)
        return present[0] if len(present) == 1 else c.AllOf(present)

    # the clock

    def _clock(self, mapping: Mapping) -> c.Condition | None:
        if not any(mapping.get(key) for key in _CLOCK):
            return None
        zone_node, days, hours, dates = (mapping.get(k) for k in ("timezone", "days", "hours", "dates"))
        zone = "UTC" if zone_node is None else self._zone(zone_node)
        if days is None and hours is None and dates is None:
            self._reader.add(mapping.place_of("timezone"), "timezone goes with days, hours or dates")
            return None
        return c.Clock(
            zone,
            None
            if days is None
            else frozenset(d for item in self._reader.words(days, "days") for d in self._days(*item)),
            None
            if hours is None
            else tuple(h for item in self._reader.words(hours, "hours") for h in self._hours(*item)),
            None
            if dates is None
            else tuple(d for item in self._reader.words(dates, "dates") for d in self._dates(*item)),
        )

    def _zone(self, node: Node) -> str:
        word = self._reader.word(node, "timezone") or "UTC"
        try:
            ZoneInfo(word)
            known = word not in _NO_ZONES and not word.startswith(("posix/", "right/"))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            known = False
        if not known:
            self._reader.add(node.place, f'unknown time zone "{word}"; write an IANA name, as Europe/Berlin')
            return "UTC"
        return word

    def _days(self, place: Place, word: str) -> list[int]:
        first, dash, last = word.lower().partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            self._reader.add(place, f'unknown days "{word}"; write mon, or mon-fri')
            return []
        begin, end = DAYS.index(first), DAYS.index(last or first)
        return [day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)]

    def _hours(self, place: Place, word: str) -> list[tuple[int, int]]:
        match = _HOURS.fullmatch(word)
        if match is None:
            self._reader.add(place, f'hours "{word}" are not "HH:MM-HH:MM"')
            return []
        h1, m1, h2, m2 = map(int, match.groups())
        if h1 * 60 + m1 == h2 * 60 + m2 or h2 * 60 + m2 > 24 * 60:
            self._reader.add(place, f'hours "{word}" are empty or go beyond 24:00')
            return []
        return [(h1 * 60 + m1, h2 * 60 + m2)]

    def _dates(self, place: Place, word: str) -> list[tuple[str, str]]:
        first, dots, last = word.partition("..")
        ends = (first, last if dots else first)
        for text in ends:
            if text and not is_date(text):
                self._reader.add(place, f'dates "{word}" are not "YYYY-MM-DD..YYYY-MM-DD"')
                return []
        if not any(ends) or (all(ends) and ends[0] > ends[1]):
            self._reader.add(place, f'dates "{word}" hold no day')
            return []
        return [ends]

    # one method a key

    def _read_from(self, node: Node) -> c.Condition | None:
        networks = []
        for place, word in self._reader.words(node, "from"):
            try:
                network = ip_network(word)
            except ValueError as error:
                self._reader.add(place, f'"{word}" is no network: {error}')
                continue
            if network.version == 6 and network.subnet_of(_MAPPED):
                # addresses are compared as IPv4 where they are mapped: it would match nothing
                plain = ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
                self._reader.add(place, f'"{word}" is IPv4-mapped; write "{plain}"')
            networks.append(network)
        return c.From(tuple(networks))

    def _read_application(self, node: Node) -> c.Condition | None:
        return c.Application(self._reader.globs(node, "application"))

    def _read_transport(self, node: Node) -> c.Condition | None:
        known = [t.value for t in Transport]
        found = [self._reader.choice(item, "transport", known) for item in self._reader.listed(node, "transport")]
        return c.TransportIs(frozenset(word for word in found if word))

    def _read_ticket(self, node: Node) -> c.Condition | None:
        mapping = self._reader.mapping(node, "ticket")
        if mapping is None:
            return None
        self._reader.known_keys(mapping, TICKET_KEYS, "ticket")
        found: list[c.Condition] = []
        for entry in mapping.entries:
            if entry.key == "indicator":
                words = self._reader.words(entry.value, "indicator")
                found.append(c.Indicator(frozenset(word for _, word in words)))
            elif entry.key in {"max_age", "min_left"}:
                seconds = self._reader.duration(entry.value, entry.key) or 0.0
                found.append(c.MaxAge(seconds) if entry.key == "max_age" else c.MinLeft(seconds))
        return c.AllOf(tuple(found))

    def _read_statement(self, node: Node) -> c.Condition | None:
        mapping = self._reader.mapping(node, "statement")
        if mapping is None:
            return None
        self._reader.known_keys(mapping, STATEMENT_KEYS, "statement")
        found: list[c.Condition | None] = []
        for entry in mapping.entries:
            if entry.key == "where":
                found.append(self._where(entry.value))
            elif entry.key == "kind":
                found.append(c.KindIs(tuple(self._tag(*item) for item in self._reader.words(entry.value, "kind"))))
            elif entry.key == "shape":
                found.append(c.ShapeIs(frozenset(self._shapes(entry.value))))
        return c.AllOf(tuple(condition for condition in found if condition is not None))

    def _where(self, node: Node) -> c.Condition | None:
        if isinstance(node, Mapping):
            if self._reader.mapping(node, "where") is None:
                return None
            self._reader.known_keys(node, WHERE_KEYS, "where")
            columns = node.get("equals")
            if columns is None:
                return None
            return c.WhereIs(None, tuple(sorted(word for _, word in self._reader.words(columns, "equals"))))
        word = self._reader.choice(node, "where", WHERE_WORDS)
        return None if word is None else c.WhereIs(word == "present")

    def _tag(self, place: Place, word: str) -> Matcher:
        pattern = glob(word.upper())
        if not any(pattern.matches(tag) for tag in COMMAND_TAGS):
            hint = suggest(word, (tag.lower() for tag in COMMAND_TAGS))
            self._reader.add(place, f'unknown command tag "{word}"{hint}')
        return pattern

    def _shapes(self, node: Node) -> list[str]:
        shapes = []
        for place, text in self._reader.words(node, "shape"):
            shape = self._shaper(text)
            if shape is None:
                self._reader.add(place, "shape is no single SQL statement that PostgreSQL would parse")
            else:
                shapes.append(shape)
        return shapes

    def _read_transaction(self, node: Node) -> c.Condition | None:
        mapping = self._reader.mapping(node, "transaction")
        if mapping is None:
            return None
        self._reader.known_keys(mapping, TRANSACTION_KEYS, "transaction")
        found: list[c.Condition] = []
        for entry in mapping.entries:
            value = self._reader.boolean(entry.value, entry.key)
            if value is not None:
                found.append(c.Block(value) if entry.key == "block" else c.ReadOnly(value))
        return c.AllOf(tuple(found))

    def _read_estimated_rows(self, node: Node) -> c.Condition | None:
        comparison = self._comparison(node)
        if comparison is None or isinstance(comparison.value, bool | str):
            self._reader.add(node.place, 'estimated_rows must be a comparison with a number, as "> 1000"')
            return None
        return c.EstimatedRows(comparison)

    def _read_reason(self, node: Node) -> c.Condition | None:
        return c.Reason(self._reader.globs(node, "reason"))

    def _read_state(self, node: Node) -> c.Condition | None:
        mapping = self._reader.mapping(node, "state")
        if mapping is None:
            return None
        found: list[c.Condition] = []
        for entry in mapping.entries:
            if entry.key not in self._probes:
                self._reader.add(entry.place, f'unknown probe "{entry.key}"{suggest(entry.key, self._probes)}')
            comparisons, patterns = [], []
            for item in self._reader.listed(entry.value, f'state "{entry.key}"'):
                comparison = self._comparison(item)
                if comparison is not None:
                    comparisons.append(comparison)
                elif (word := self._reader.word(item, f'state "{entry.key}"')) is not None:
                    patterns.append(glob(word))
            found.append(c.State(entry.key, tuple(comparisons), tuple(patterns)))
        return c.AllOf(tuple(found))

    def _comparison(self, node: Node) -> c.Comparison | None:
        """`"> 1000"`, `"= true"`, `"!= text"`, or a bare number or boolean; None for text without an operator."""
        if not isinstance(node, Scalar) or node.value is None:
            return None
        if isinstance(node.value, float) and not isfinite(node.value):
            self._reader.add(node.place, f'"{node.text}" compares with nothing')
        if not isinstance(node.value, str):
            return c.Comparison("=", node.value)
        written = node.value.strip()
        match = _COMPARISON.fullmatch(written)
        if match is None or match[2].startswith(_OPERATOR_SIGNS):
            if written.startswith(_OPERATOR_SIGNS):
                self._reader.add(node.place, f'"{node.value}" is no comparison; operators are < <= = != >= >')
            return None
        text = match[2].strip()
        if _NUMBER.fullmatch(text) and isfinite(float(text)):
            return c.Comparison(match[1], float(text))
        if match[1] not in {"=", "!="}:
            self._reader.add(
                node.place, f'"{node.value}" compares with no number; text, true and false go with = or !='
            )
        return c.Comparison(match[1], text == "true" if text in {"true", "false"} else text)

    def _read_is(self, node: Node) -> c.Condition | None:
        found = []
        for place, word in self._reader.words(node, "is"):
            condition = self._named.get(word)
            if condition is None:
                self._reader.add(place, f'unknown condition "{word}"{suggest(word, self._named)}')
            else:
                found.append(condition)
        return c.AllOf(tuple(found))


def is_date(text: str) -> bool:
    """Whether it is a day as YYYY-MM-DD, which compares as text; fromisoformat knows other forms, too."""
    try:
        return _DATE.fullmatch(text) is not None and bool(date.fromisoformat(text))
    except ValueError:
        return False
