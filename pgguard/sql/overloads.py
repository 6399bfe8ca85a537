"""Which overload the database picks: PostgreSQL's own steps over types, left open where a type is not known.

Source: PostgreSQL docs, sections 10.2 (operators) and 10.3 (functions); PostgreSQL source, func_select_candidate.
`choose` gives the one that is picked, or all that may be: where PostgreSQL itself would find the call ambiguous, and
where the choice hangs on a type that the analysis does not know. # INVARIANT: never less than what may be picked.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pgguard.sql import types
from pgguard.sql.catalog import Catalog, Function, Operator
from pgguard.sql.types import ANYTHING, UNKNOWN


class Candidate(NamedTuple):
    """`types`: what it takes in the order of the call's arguments. `rank`: its schema's place in the search_path.

    `spread`: it takes the call only by its VARIADIC argument or its defaults.
    """

    target: Function | Operator
    types: tuple[int, ...]
    rank: int = 0
    spread: bool = False


def choose(catalog: Catalog, candidates: Sequence[Candidate], given: Sequence[int]) -> list[Candidate]:
    """The candidate that is picked, or all that may be; none where none takes these types."""
    reachable = _nearest(candidates)
    if ANYTHING not in given:
        exact = [c for c in reachable if c.types == tuple(given)]
        if len(exact) == 1:
            return exact
    fitting = [
        c
        for c in reachable
        if all(types.converts(catalog, s, t) for s, t in zip(given, c.types, strict=True))
        and types.consistent(catalog, given, c.types)
    ]
    if len(fitting) < 2 or ANYTHING in given:
        return fitting
    return _best(catalog, fitting, [types.base(catalog, oid) for oid in given])


def _nearest(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Of those with the same types the first by search_path, then the one without VARIADIC (FuncnameGetCandidates)."""
    nearest: dict[tuple[int, ...], Candidate] = {}
    same: list[Candidate] = []
    for candidate in candidates:
        held = nearest.get(candidate.types)
        if held is None or (candidate.rank, candidate.spread) < (held.rank, held.spread):
            nearest[candidate.types] = candidate
        elif (candidate.rank, candidate.spread) == (held.rank, held.spread):
            same.append(candidate)
    return [*nearest.values(), *same]


def _best(catalog: Catalog, candidates: list[Candidate], given: list[int]) -> list[Candidate]:
    known = [i for i, oid in enumerate(given) if oid != UNKNOWN]
    candidates = _most(candidates, lambda c: sum(c.types[i] == given[i] for i in known))
    candidates = _most(
        candidates,
        lambda c: sum(c.types[i] == given[i] or _preferred(catalog, given[i], c.types[i]) for i in known),
    )
    if len(candidates) == 1 or len(known) == len(given):
        return candidates
    narrowed = _by_category(catalog, candidates, [i for i in range(len(given)) if i not in known])
    if len(narrowed) == 1:
        return narrowed
    if len({given[i] for i in known}) == 1:
        assumed = given[known[0]]
        fitting = [c for c in narrowed if all(types.converts(catalog, assumed, t) for t in c.types)]
        if len(fitting) == 1:
            return fitting
    return narrowed


def _most(candidates: list[Candidate], score: Callable[[Candidate], int]) -> list[Candidate]:
    if len(candidates) < 2:
        return candidates
    best = max(score(c) for c in candidates)
    return [c for c in candidates if score(c) == best]


def _category(catalog: Catalog, oid: int) -> tuple[str, bool]:
    found = catalog.type_by_oid(oid)
    return ("X", False) if found is None else (found.category, found.preferred)


def _preferred(catalog: Catalog, source: int, target: int) -> bool:
    category, preferred = _category(catalog, target)
    return preferred and category == _category(catalog, source)[0]


def _by_category(catalog: Catalog, candidates: list[Candidate], unknown: list[int]) -> list[Candidate]:
    """Unknown literals: as strings where a candidate takes one, else the category that all agree on."""
    slots: dict[int, tuple[str, bool]] = {}
    for i in unknown:
        taken = [_category(catalog, c.types[i]) for c in candidates]
        categories = {category for category, _ in taken}
        if "S" in categories:
            category = "S"
        elif len(categories) == 1:
            (category,) = categories
        else:
            return candidates
        slots[i] = category, any(preferred for own, preferred in taken if own == category)
    kept = [
        c
        for c in candidates
        if all(
            (own := _category(catalog, c.types[i]))[0] == category and (own[1] or not preferred)
            for i, (category, preferred) in slots.items()
        )
    ]
    return kept or candidates
