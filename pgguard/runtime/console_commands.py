"""The console's commands: what each is called, who may give it, and what it answers.

A command is matched, authorised with the groups of that moment, recorded, and carried out, in this order; one that is
refused, whenever that is, is recorded with the reason. What is about holds is authorised by the desk: one sees what one
may approve, and one's own.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from pgguard.audit.log import AuditUnavailable
from pgguard.audit.records import ConsoleCommand
from pgguard.holds.desk import VoteRefused
from pgguard.holds.store import StoreUnavailable
from pgguard.model.refusal import Refusal
from pgguard.model.sqlstate import SqlState
from pgguard.runtime.directory_table import DIRECTORY, directory_rows
from pgguard.runtime.hold_tables import HOLD, HOLDS, hold_rows, holds_rows
from pgguard.runtime.house import House, timestamp
from pgguard.runtime.locks import lock_rows
from pgguard.runtime.login import Login
from pgguard.runtime.metrics import Family
from pgguard.runtime.orders import SessionLine

Row = tuple[str | None, ...]


class Answer(msgspec.Struct, frozen=True):
    tag: str
    rows: tuple[Row, ...] = ()
    notice: str = ""


class CommandRefused(Exception):  # noqa: N818  # it says what happened
    def __init__(self, sqlstate: SqlState, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(sqlstate, message)


class Floor(Protocol):
    """What the console reaches of the server, and of its other workers."""

    async def sessions(self) -> Sequence[SessionLine]: ...

    async def terminate(self, session: str, owner: str | None, why: str) -> bool: ...

    async def families(self) -> Sequence[Family]: ...

    async def reload(self) -> str: ...


class Command(msgspec.Struct, frozen=True):
    """`columns`: of its result; None: it has none. `help` is left out of HELP where it is empty."""

    pattern: re.Pattern[str]
    columns: tuple[str, ...] | None
    run: Callable[["Commands", re.Match[str]], Awaitable[Answer]]
    usage: str = ""
    help: str = ""
    for_admins: bool = False


class Commands:
    """One person's commands. `listen`: begin or end to tell this client of events."""

    def __init__(self, house: House, login: Login, floor: Floor, listen: Callable[[bool], None]) -> None:
        self._house = house
        self._login = login
        self._floor = floor
        self._listen = listen
        self.person = login.person

    async def carry_out(self, text: str) -> Answer:
        """Raises CommandRefused."""
        try:
            found = find(text)
            if found is None:
                raise CommandRefused(SqlState.SYNTAX_ERROR, "unknown console command; HELP lists them")  # noqa: TRY301
            command, match = found
            if command.for_admins:
                self._only_for_admins(match)
        except CommandRefused as refused:
            self._record(text, str(refused))
            raise
        self._record(text, None)
        try:
            return await self._run(command, match)
        except CommandRefused as refused:
            self._record(text, str(refused))
            raise

    async def _run(self, command: Command, match: re.Match[str]) -> Answer:
        """Raises CommandRefused."""
        try:
            return await command.run(self, match)
        except VoteRefused as refused:
            raise CommandRefused(SqlState.INSUFFICIENT_PRIVILEGE, str(refused)) from refused
        except StoreUnavailable as away:
            raise CommandRefused(SqlState.CANNOT_CONNECT_NOW, f"{away}; nothing was changed") from away
        except AuditUnavailable as error:
            raise _unrecorded() from error

    def _record(self, text: str, error: str | None) -> None:
        record = ConsoleCommand(timestamp(), self._login.session, self._login.user, text, error)
        try:
            self._house.audit.append(record)
        except AuditUnavailable as unwritten:
            self._house.metrics.unrecorded += 1
            raise _unrecorded() from unwritten

    @property
    def _is_admin(self) -> bool:
        admins = {name.lower() for name in self._house.config.console.admin_groups}
        groups = self._house.people.groups_of(self._login.user)
        return isinstance(groups, tuple) and not admins.isdisjoint(groups)

    def _only_for_admins(self, match: re.Match[str]) -> None:
        """What is about oneself is for everybody."""
        own = "user" in match.re.groupindex and match["user"] == self._login.user
        if not (self._is_admin or own):
            raise CommandRefused(
                SqlState.INSUFFICIENT_PRIVILEGE, "permission denied: it is for members of [console] admin_groups"
            )

    # holds

    async def show_holds(self, _: re.Match[str]) -> Answer:
        return Answer("SHOW", holds_rows(await self._house.desk.visible_to(self.person)))

    async def show_hold(self, match: re.Match[str]) -> Answer:
        number = int(match["number"])
        records = await self._house.desk.visible_to(self.person)
        record = next((one for one in records if one.number == number), None)
        if record is None:
            raise VoteRefused(f"no hold #{number} waits for you")
        return Answer("SHOW", hold_rows(record, await lock_rows(self._house, record.hold)))

    async def approve(self, match: re.Match[str]) -> Answer:
        number = int(match["number"])
        enough = await self._house.desk.approve(number, self.person, _why(match))
        told = "is approved, and goes on" if enough else "needs more approvals"
        return Answer("APPROVE", notice=f"hold #{number} {told}")

    async def refuse(self, match: re.Match[str]) -> Answer:
        number, why = int(match["number"]), _why(match)
        if not why:
            raise CommandRefused(SqlState.SYNTAX_ERROR, f"REFUSE needs a reason: REFUSE {number} 'why'")
        await self._house.desk.refuse(number, self.person, why)
        return Answer("REFUSE", notice=f"hold #{number} is refused")

    async def listen(self, _: re.Match[str]) -> Answer:
        self._listen(True)
        return Answer("LISTEN")

    async def unlisten(self, _: re.Match[str]) -> Answer:
        self._listen(False)
        return Answer("UNLISTEN")

    # pgguard itself

    async def show_sessions(self, _: re.Match[str]) -> Answer:
        """All of them for an administrator, else one's own."""
        rows = (
            (
                line.session, line.user, line.principal, line.database, line.address or "a socket", line.transport,
                line.doing, str(line.statements),
            )
            for line in await self._floor.sessions()
            if self._is_admin or line.user == self._login.user
        )  # fmt: skip
        return Answer("SHOW", tuple(rows))

    async def show_rules(self, _: re.Match[str]) -> Answer:
        rules = [rule for rule in self._house.rulebook.current.rules if not rule.baseline]
        rows = (
            (rule.name, rule.effect.value, rule.mode.value, rule.who.in_words(), rule.until, str(rule.place))
            for rule in sorted(rules, key=lambda rule: rule.name)
        )
        return Answer("SHOW", tuple(rows), self._house.rulebook.error or "")

    async def show_groups(self, match: re.Match[str]) -> Answer:
        user = match["user"]
        membership = await self._house.directory.watch(user)
        self._house.directory.unwatch(user)
        if membership is None or membership.groups is None:
            raise CommandRefused(SqlState.CANNOT_CONNECT_NOW, f'the directory cannot tell the groups of "{user}"')
        if not membership.found:
            raise CommandRefused(SqlState.UNDEFINED_OBJECT, f'the directory does not know "{user}"')
        rows = tuple((group, " > ".join(membership.paths.get(group, ()))) for group in membership.groups)
        return Answer("SHOW", rows, f'the account "{user}" is disabled' if membership.disabled else "")

    async def show_directory(self, _: re.Match[str]) -> Answer:
        """For everybody: while it is silent nobody is known to be an administrator."""
        rows = directory_rows(self._house.directory, self._house.config.directory, in_full=self._is_admin)
        return Answer("SHOW", tuple(rows))

    async def show_stats(self, _: re.Match[str]) -> Answer:
        rows = [
            (family.name + suffix, labels, f"{value:g}")
            for family in await self._floor.families()
            for suffix, labels, value in family.samples
            if suffix != "_bucket"
        ]
        return Answer("SHOW", tuple(rows))

    async def terminate(self, match: re.Match[str]) -> Answer:
        """One's own sessions, or anybody's for an administrator; others do not exist."""
        why = f'terminating connection due to the command of "{self._login.principal}" in the console'
        if await self._floor.terminate(match["session"], None if self._is_admin else self._login.user, why):
            return Answer("TERMINATE")
        raise CommandRefused(
            SqlState.UNDEFINED_OBJECT, f'no session "{match["session"]}" for you; SHOW SESSIONS lists them'
        )

    async def reload(self, _: re.Match[str]) -> Answer:
        error = await self._floor.reload()
        if error:
            raise CommandRefused(SqlState.INVALID_PARAMETER_VALUE, f"those in force stay: {error}")
        return Answer("RELOAD", notice=f"rules in force: {self._house.rulebook.current.identity}")

    async def help(self, _: re.Match[str]) -> Answer:
        listed = (
            one for one in _COMMANDS if one.help and (self._is_admin or not one.for_admins or "user" in one.usage)
        )
        return Answer("SHOW", tuple((one.usage, one.help) for one in listed))

    async def nothing(self, match: re.Match[str]) -> Answer:
        """What drivers say by themselves: there is no transaction and no setting here to change."""
        return Answer(match[0].split()[0].upper())


def _command(pattern: str, *arguments: object, **options: object) -> Command:
    whole = re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE)
    return Command(whole, *arguments, **options)  # type: ignore[arg-type]  # as Command has them


_NUMBER = r"(?P<number>\d{1,18})"
_WHY = r"(?:\s+'(?P<why>(?:[^']|'')*)')?"

_COMMANDS = (
    _command("show holds", HOLDS, Commands.show_holds, "SHOW HOLDS", "what waits for you, and what of yours waits"),
    _command(f"show hold {_NUMBER}", HOLD, Commands.show_hold, "SHOW HOLD n", "one of them, in full"),
    _command(
        f"approve {_NUMBER}{_WHY}", None, Commands.approve, "APPROVE n ['why']",
        "your yes; break-glass needs the reason",
    ),
    _command(
        f"refuse {_NUMBER}{_WHY}", None, Commands.refuse, "REFUSE n 'why'",
        "your no, which ends it; the requester reads the reason",
    ),
    _command('listen "?holds"?', None, Commands.listen, "LISTEN holds", "a notification of each event you may see"),
    _command(r'unlisten (?:"?holds"?|\*)', None, Commands.unlisten),
    _command(
        "show sessions", ("session", "user", "principal", "database", "from", "transport", "state", "statements"),
        Commands.show_sessions, "SHOW SESSIONS", "yours; everybody's for an administrator",
    ),
    _command(
        "show rules", ("rule", "effect", "mode", "who", "until", "place"), Commands.show_rules, "SHOW RULES",
        "the rules in force, and why the last reload failed", for_admins=True,
    ),
    _command(
        r'show groups of "?(?P<user>[^\s";]+)"?', ("group", "by"), Commands.show_groups, "SHOW GROUPS OF user",
        "what the directory tells now; of others for an administrator", for_admins=True,
    ),
    _command(
        "show directory", DIRECTORY, Commands.show_directory, "SHOW DIRECTORY",
        "whether it answers, and how long what is known serves; more for an administrator",
    ),
    _command(
        "show stats", ("metric", "labels", "value"), Commands.show_stats, "SHOW STATS", "what the metrics tell",
        for_admins=True,
    ),
    _command(
        r"terminate '?(?P<session>\w+)'?", None, Commands.terminate, "TERMINATE session",
        "end a session of yours; anybody's for an administrator",
    ),
    _command("reload", None, Commands.reload, "RELOAD", "read the rules anew", for_admins=True),
    _command("(?:show )?help", ("command", "what"), Commands.help, "HELP", "this"),
    _command(r"(?:begin|start transaction|commit|end|rollback|abort)\b[^;]*", None, Commands.nothing),
    _command(r"(?:set|reset|discard|deallocate)\s[^;]*", None, Commands.nothing),
)  # fmt: skip


def find(text: str) -> tuple[Command, re.Match[str]] | None:
    """The command that a text is.

    What surrounds it is cut off first: no two neighbours of a pattern match the same, so that each takes linear time.
    """
    text = text.strip().rstrip("; \t\r\n")
    for command in _COMMANDS:
        match = command.pattern.fullmatch(text)
        if match is not None:
            return command, match
    return None


def _why(match: re.Match[str]) -> str:
    return (match["why"] or "").replace("''", "'")


def _unrecorded() -> CommandRefused:
    return CommandRefused(SqlState.DISK_FULL, "the command could not be recorded, and was refused")
