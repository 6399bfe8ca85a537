"""`pgguard demo`: the guided tour."""

import click
from rich.console import Console
from rich.text import Text

from pgguard.lab.demo import give_tour
from pgguard.lab.errors import LabError


@click.command()
def demo() -> None:
    """A guided tour: real psql sessions, approved and refused statement by statement."""
    console = Console(highlight=False)
    try:
        surprises = give_tour(console)
    except LabError as error:
        raise click.ClickException(str(error)) from error
    console.print()
    if surprises:
        console.print(Text(f"{len(surprises)} things came out otherwise than told:", style="bold red"))
        for surprise in surprises:
            console.print(Text(surprise))
        raise SystemExit(1)
    console.print(Text("All as told; nothing is left running. To go on:", style="bold"))
    for command, why in (
        ("pgguard lab up --dir /tmp/mylab", "the same shop, for you to play in"),
        ("pgguard lab shell --dir /tmp/mylab alice psql", "as alice"),
        ("pgguard lab up --dir … --sql schema.sql --rules rules/", "a schema and rules of your own"),
        ("rules/ in its folder", "the rules that you have seen at work"),
    ):
        console.print(Text(f"  {command:<57}{why}"), soft_wrap=True)
    console.print(Text('In a checkout "./dev lab" stands for "pgguard lab".'))
