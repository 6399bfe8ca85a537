"""Patterns of names: `*` is any run of characters, also none; nothing else is special.

Names of objects are written as in SQL: unquoted parts in lower case, quoted parts literal. A pattern compiles to a
Matcher once, at load; one without `*` is literal, so that rules can be indexed by it.
"""

import re

import msgspec


class PatternError(Exception):
    """The pattern cannot be used; the message says why and what to write."""


_ANYTHING = "\ud800"
"""Stands for a `*` in a sample: a lone surrogate, which no text in UTF-8 holds and so no pattern either."""


class Matcher(msgspec.Struct, frozen=True):
    """Matches one name. `literal` is the name itself where the pattern has no `*`.

    `sample` is a name that the pattern matches, and another pattern only where it matches all that this one does.
    """

    source: str
    literal: str | None
    regex: re.Pattern[str] | None = None
    sample: str = ""

    def matches(self, name: str) -> bool:
        return self.literal == name if self.regex is None else self.regex.fullmatch(name) is not None

    def covers(self, other: "Matcher") -> bool:
        """Whether it matches every name that `other` does."""
        if other.literal is not None:
            return self.matches(other.literal)
        # a character that stands nowhere else is matched by a `*` alone, which then matches all that it stands for
        return self.regex is not None and self.regex.fullmatch(other.sample) is not None


def glob(text: str, *, ignore_case: bool = False) -> Matcher:
    """A pattern over a plain name, nothing quoted: groups, users, settings, applications."""
    if ignore_case:
        text = text.lower()
    return _matcher(text, [part for piece in text.split("*") for part in (piece, None)][:-1])


def _matcher(source: str, parts: list[str | None]) -> Matcher:
    """`parts`: literal runs, and None for each `*`."""
    if None not in parts:
        return Matcher(source, "".join(part for part in parts if part is not None))
    runs = [""]
    for part in parts:
        if part is not None:
            runs[-1] += part
        elif runs[-1] or len(runs) == 1:
            runs.append("")
    first, *middle, last = map(re.escape, runs)
    # each run at the first place where it stands, and never tried elsewhere: no name can make it take longer
    regex = first + "".join(f"(?>.*?{run})" for run in middle) + ".*" + last
    sample = "".join(_ANYTHING if part is None else part for part in parts)
    return Matcher(source, None, re.compile(regex, re.DOTALL), sample)


class NamePattern(msgspec.Struct, frozen=True):
    """A pattern over an object: `schema` is None for kinds without schemas, `arguments` None for every overload."""

    source: str
    schema: Matcher | None
    name: Matcher
    arguments: tuple[str, ...] | None = None
    reaches_system: bool = False

    @property
    def literal(self) -> tuple[str, str] | None:
        """(schema, name), where both are literal."""
        if self.schema is None or self.schema.literal is None or self.name.literal is None:
            return None
        return self.schema.literal, self.name.literal

    def matches(self, schema: str | None, name: str, arguments: tuple[str, ...] | None) -> bool:
        if self.schema is not None:
            if schema is None or not self.schema.matches(schema):
                return False
            # a `*` in the schema's place means the users' schemas (rule language, section 3)
            if self.schema.literal is None and not self.reaches_system and _is_system(schema):
                return False
        return self.name.matches(name) and (self.arguments is None or self.arguments == arguments)

    def covers(self, other: "NamePattern") -> bool:
        """Whether it matches every object, of the same kind, that `other` does."""
        if self.schema is not None and not (other.schema is not None and self._covers_schema(other)):
            return False
        return self.name.covers(other.name) and (self.arguments is None or self.arguments == other.arguments)

    def _covers_schema(self, other: "NamePattern") -> bool:
        assert self.schema is not None, "asked for kinds with schemas"
        assert other.schema is not None, "asked for kinds with schemas"
        beyond = other.reaches_system and (other.schema.literal is None or _is_system(other.schema.literal))
        return (self.reaches_system or not beyond) and self.schema.covers(other.schema)


def _is_system(schema: str) -> bool:
    return schema.startswith("pg_") or schema == "information_schema"


def qualified(source: str, *, function: bool = False) -> NamePattern:
    """`schema.name`, for a function also `schema.name(type, type)`. Raises PatternError."""
    head, arguments = source, None
    if function and source.endswith(")"):
        head, opened, inside = source[:-1].partition("(")
        if not opened:
            raise PatternError(f'pattern "{source}" has a ")" without a "("')
        arguments = tuple(_argument(part, source) for part in inside.split(",")) if inside.strip() else ()
    parts = _split(head, source)
    if len(parts) == 1:
        raise PatternError(f'pattern "{source}" names no schema; write "public.{source}" or "*.{source}"')
    if len(parts) > 2:
        raise PatternError(f'pattern "{source}" has {len(parts)} parts; name the database with "database:"')
    schema, name = (_matcher(source, part) for part in parts)
    reaches = schema.literal is not None or schema.source.startswith(("pg_", "information_"))
    return NamePattern(source, schema, name, arguments, reaches)


_TYPES = {
    "int": "integer", "int4": "integer", "int8": "bigint", "int2": "smallint", "bool": "boolean",
    "float": "double precision", "float8": "double precision", "float4": "real", "decimal": "numeric",
    "varchar": "character varying", "char": "character", "bpchar": "character", "varbit": "bit varying",
    "timestamp": "timestamp without time zone", "timestamptz": "timestamp with time zone",
    "time": "time without time zone", "timetz": "time with time zone",
}  # fmt: skip
"""Other spellings of types (PostgreSQL docs, table 8.1), to those by which functions are known."""


def _argument(text: str, source: str) -> str:
    """An argument's type by the name that accesses have."""
    written = " ".join(text.split())
    if not written:
        raise PatternError(f'pattern "{source}" has an empty argument')
    bare = written.rstrip("[]").rstrip()
    if '"' not in bare and bare != bare.lower():
        raise PatternError(f'pattern "{source}" has upper case in "{written}"; write "{written.lower()}", or quote it')
    return _TYPES.get(bare, bare) + written[len(bare) :].replace(" ", "")


def column(source: str) -> tuple[Matcher, Matcher, Matcher]:
    """`schema.table.column`, each a pattern. Raises PatternError."""
    parts = _split(source, source)
    if len(parts) != 3:
        raise PatternError(f'label pattern "{source}" is not "schema.table.column"')
    schema, table, name = (_matcher(source, part) for part in parts)
    return schema, table, name


def unqualified(source: str) -> NamePattern:
    """A name that lives in no schema: a role, a language, a schema itself. Raises PatternError."""
    parts = _split(source, source)
    if len(parts) != 1:
        raise PatternError(f'pattern "{source}" has a schema, but objects of this kind live in none')
    return NamePattern(source, None, _matcher(source, parts[0]))


def plain_name(source: str, *, ignore_case: bool = False) -> NamePattern:
    """A name that is no SQL identifier: a path, a command, a setting, a channel, an OID."""
    return NamePattern(source, None, glob(source, ignore_case=ignore_case))


_PIECE = re.compile(r'"((?:[^"]|"")*)"|(\*)|(\.)|([^".*]+)')


def _split(text: str, source: str) -> list[list[str | None]]:
    """The dotted parts of a pattern, each as literal runs and None for `*`."""
    parts: list[list[str | None]] = [[]]
    at = 0
    while at < len(text):
        piece = _PIECE.match(text, at)
        if piece is None:
            raise PatternError(f'pattern "{source}" has a quote that does not end')
        quoted, star, dot, word = piece.groups()
        if dot:
            parts.append([])
        elif star:
            parts[-1].append(None)
        elif quoted is not None:
            parts[-1].append(quoted.replace('""', '"'))
        else:
            parts[-1].append(_unquoted(word, source))
        at = piece.end()
    if any(not part for part in parts):
        raise PatternError(f'pattern "{source}" has an empty part')
    return parts


def _unquoted(word: str, source: str) -> str:
    if word != word.lower():
        raise PatternError(
            f'pattern "{source}" has upper case; PostgreSQL folds unquoted names: write "{source.lower()}",'
            f" or quote it: '{source.replace(word, chr(34) + word + chr(34))}'"
        )
    if not re.fullmatch(r"[\w$]+", word):
        raise PatternError(f'pattern "{source}" has "{word}", which must be quoted: "\\"{word}\\""')
    return word
