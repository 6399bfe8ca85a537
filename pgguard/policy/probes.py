"""Probes as rule files define them: where a live value comes from, and how often (rule-language, section 3)."""

import msgspec

from pgguard.policy.reading import Reader
from pgguard.policy.tree import Entry

SOURCES = ("sql", "file", "http")
PARTNERS = {"sql": "database", "http": "json"}
PROBE_KEYS = (*SOURCES, *PARTNERS.values(), "every")


class Probe(msgspec.Struct, frozen=True):
    """Exactly one of `sql` (with `database`), `file` and `http` (with `json`, a dotted path) is set.

    `every`: seconds between polls; a value older than three of them is no value.
    """

    name: str
    every: float
    sql: str | None = None
    database: str | None = None
    file: str | None = None
    http: str | None = None
    json: str | None = None


def read_probe(reader: Reader, entry: Entry) -> Probe | None:
    mapping = reader.mapping(entry.value, f'probe "{entry.key}"')
    if mapping is None:
        return None
    reader.known_keys(mapping, PROBE_KEYS, "probe")
    sources = [key for key in SOURCES if mapping.get(key) is not None]
    if len(sources) != 1:
        reader.add(mapping.place, f'probe "{entry.key}" needs exactly one of sql, file, http')
        return None
    texts = {}
    for key in PROBE_KEYS[:-1]:
        node = mapping.get(key)
        texts[key] = None if node is None else reader.word(node, key)
    for source, key in PARTNERS.items():
        if (texts[source] is not None) is not (texts[key] is not None):
            reader.add(mapping.place, f'probe "{entry.key}": "{source}" and "{key}" go together')
    if texts["http"] is not None and not texts["http"].startswith(("http://", "https://")):
        reader.add(mapping.place_of("http"), f'probe "{entry.key}": "{texts["http"]}" does not begin with http://')
    every = mapping.get("every")
    seconds = None if every is None else reader.duration(every, "every")
    if every is None:
        reader.add(mapping.place, f'probe "{entry.key}" has no "every"')
    return Probe(entry.key, seconds or 1.0, **texts)
