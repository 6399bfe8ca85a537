"""`pgguard rules`: the schema, the rules in words, what changes, and rules learnt from an audit."""

import json
from collections.abc import Callable

from click.testing import Result

Pgguard = Callable[..., Result]


def test_the_schema_is_printed_as_json(pgguard: Pgguard):
    result = pgguard("rules", "schema")
    assert result.exit_code == 0
    assert json.loads(result.output)["properties"]["rules"]["type"] == "array"
