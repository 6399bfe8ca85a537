"""Rules in words: for `pgguard rules show` and `diff`, where a person reads what was written as YAML."""

from collections.abc import Iterable

from pgguard.model.access import Kind, Privilege
from pgguard.model.decision import Approvers, Covers, Effect
from pgguard.policy import conditions as c
from pgguard.policy.patterns import Matcher
from pgguard.policy.rule import Columns, Mode, Rule, Target
from pgguard.policy.why import clock_in_words, comparison_in_words, duration_in_words


def rule_in_words(rule: Rule) -> str:
    """`group analysts: select on sales.orders (columns id, total), mon-fri 08:00-18:00 UTC`."""
    return f"{rule.who.in_words()}: {what_in_words(rule)}{terms_in_words(rule)}"


def what_in_words(rule: Rule) -> str:
    """Privileges, objects and columns."""
    columns = "" if rule.columns is None else f" ({columns_in_words(rule.columns)})"
    return "; ".join(_target(target) for target in rule.targets) + columns


def terms_in_words(rule: Rule) -> str:
    """What else limits the rule, each behind a comma; empty where nothing does."""
    terms = []
    if rule.databases is not None:
        terms.append(f"in database {sources(rule.databases)}")
    if rule.condition is not None:
        terms.append(condition_in_words(rule.condition))
    if rule.until is not None:
        terms.append(f"until {rule.until}")
    if rule.max_rows is not None:
        terms.append(f"at most {rule.max_rows} rows")
    if rule.effect is Effect.HOLD:
        terms.append(hold_in_words(rule))
    if rule.mode is Mode.OBSERVE:
        terms.append("only observed")
    return "".join(f", {term}" for term in terms)


def hold_in_words(rule: Rule) -> str:
    """Whose approval it asks for, for how long it waits, and how far it reaches."""
    words = f"until {_approvers(rule.approvers)} approve it, within {duration_in_words(rule.timeout)}"
    if rule.covers is Covers.TRANSACTION:
        words += ", once a transaction"
    if rule.covers is Covers.SESSION:
        words += f", once a session for {duration_in_words(rule.lasts or 0)}"
    return words


def _approvers(approvers: Approvers) -> str:
    words = []
    if approvers.groups or approvers.users:
        words.append(f"{approvers.count} of {_people(approvers.groups, approvers.users)}")
    if approvers.alone_groups or approvers.alone_users:
        words.append(f"1 of {_people(approvers.alone_groups, approvers.alone_users)} alone")
    return " or ".join(words)


def _people(groups: Iterable[str], users: Iterable[str]) -> str:
    return ", ".join([*(f"group {group}" for group in groups), *(f"user {user}" for user in users)])


def privileges_in_words(privileges: Iterable[Privilege]) -> str:
    """In the order of the language's table."""
    found = set(privileges)
    return "all" if found == set(Privilege) else ", ".join(p.value for p in Privilege if p in found)


def _target(target: Target) -> str:
    privileges = privileges_in_words(target.privileges)
    if target.kind is None:
        return f"{privileges} on anything"
    kind = "" if target.kind is Kind.TABLE else f"{target.kind.value.replace('_', ' ')} "
    return f"{privileges} on {kind}{', '.join(pattern.source for pattern in target.patterns)}"


def columns_in_words(columns: Columns) -> str:
    listed = [matcher.source for matcher in columns.names]
    if columns.label is not None:
        listed.append(f"with label {columns.label}")
    what = "column" if len(listed) == 1 and columns.label is None else "columns"
    return f"all columns but {', '.join(listed)}" if columns.excepted else f"{what} {', '.join(listed)}"


def sources(matchers: Iterable[Matcher]) -> str:
    return ", ".join(matcher.source for matcher in matchers)


def condition_in_words(condition: c.Condition) -> str:
    match condition:
        case c.AllOf(conditions):
            return ", ".join(_inside(part) for part in conditions)
        case c.AnyOf(conditions):
            return " or ".join(_inside(part) for part in conditions)
        case c.Not(inside):
            return f"unless {_inside(inside)}"
    return _leaf(condition)


def _inside(condition: c.Condition) -> str:
    words = condition_in_words(condition)
    return f"({words})" if isinstance(condition, c.AnyOf | c.AllOf) and len(condition.conditions) > 1 else words


def _leaf(condition: c.Condition) -> str:  # noqa: C901, PLR0912  # one case a condition reads best
    match condition:
        case c.Clock():
            return clock_in_words(condition)
        case c.From(networks):
            return f"from {', '.join(map(str, networks))}"
        case c.Application(patterns):
            return f"application {sources(patterns)}"
        case c.TransportIs(transports):
            return f"over {' or '.join(sorted(transports))}"
        case c.Indicator(indicators):
            return f"ticket with {' or '.join(sorted(indicators))}"
        case c.MaxAge(seconds):
            return f"ticket of the last {duration_in_words(seconds)}"
        case c.MinLeft(seconds):
            return f"ticket with {duration_in_words(seconds)} left"
        case c.WhereIs(None, equals):
            return f"WHERE fixes {', '.join(equals)}"
        case c.WhereIs(present):
            return "with WHERE" if present else "without WHERE"
        case c.KindIs(patterns):
            return f"statement {sources(patterns)}"
        case c.ShapeIs(shapes):
            return f"statement like {' or '.join(sorted(shapes))}"
        case c.Block(block):
            return "in a transaction block" if block else "outside of a transaction block"
        case c.ReadOnly(read_only):
            return "in a read-only transaction" if read_only else "in a transaction that may write"
        case c.EstimatedRows(comparison):
            return f"estimated rows {comparison_in_words(comparison)}"
        case c.Reason(patterns):
            return f"reason {sources(patterns)}"
        case c.State(probe, comparisons, patterns):
            return f"{probe} {' or '.join([*map(comparison_in_words, comparisons), *(p.source for p in patterns)])}"
    raise AssertionError(f"no words for {condition!r}")
