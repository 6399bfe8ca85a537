"""A server in a few lines, which answers like PostgreSQL as far as a fuzzed session needs, and watches what it gets.

It is no oracle of PostgreSQL (test_model.py has the real one): it says whether anything reached the database that must
not, at a speed at which thousands of sequences can be tried.
"""

from collections.abc import Callable

from pgguard.wire import backend, frontend
from pgguard.wire.constants import Backend, Frontend
from pgguard.wire.framing import FrontendFramer, Message, message

_OK = backend.empty
_COPY_IN = message(Backend.COPY_IN_RESPONSE, b"\0\0\0")
_DONE = backend.command_complete("SELECT 1")


class Server:
    """`must_not`: whether a text must never be parsed (moment "P") or run (moment "E")."""

    def __init__(self, must_not: Callable[[str, bytes], bool]) -> None:
        self._must_not = must_not
        self._framer = FrontendFramer()
        self._statements: dict[bytes, bytes] = {}
        self._portals: dict[bytes, bytes] = {}
        self._held = b""
        self._out = b""
        self._skipping = False
        self._copying = ""
        self.closed = False

    def take(self) -> bytes:
        """What has been sent to the client."""
        out, self._out = self._out, b""
        return out

    def receive(self, data: bytes) -> None:
        for found in self._framer.feed(data):
            assert not self.closed, f"message {found.type:c} behind a Terminate"
            self._take(found)
        assert self._framer.held == 0, "half a message was relayed"

    def _say(self, *replies: bytes, flush: bool = False) -> None:
        self._held += b"".join(replies)
        if flush:
            self._out, self._held = self._out + self._held, b""

    def _ready(self) -> None:
        self._skipping = False
        self._say(backend.ready_for_query(b"I"), flush=True)

    def _fail(self, *, skip: bool) -> None:
        self._say(backend.error({"S": "ERROR", "V": "ERROR", "C": "42601", "M": "no"}), flush=True)
        self._skipping = skip

    def _take(self, found: Message) -> None:
        kind = Frontend(found.type)
        if self._copying:
            self._in_copy(kind)
        elif kind is Frontend.TERMINATE:
            self.closed = True
        elif kind is Frontend.SYNC:
            self._ready()
        elif kind is Frontend.FLUSH:
            self._say(flush=True)
        elif kind in {Frontend.COPY_DATA, Frontend.COPY_DONE, Frontend.COPY_FAIL}:
            raise AssertionError("data of a COPY outside of one: PostgreSQL ignores it, and pgguard never sends it")
        elif not self._skipping:
            self._command(kind, found.raw)

    def _in_copy(self, kind: Frontend) -> None:
        if kind is Frontend.COPY_DATA:
            return
        if kind is Frontend.TERMINATE:
            self.closed = True
            return
        assert kind in {Frontend.COPY_DONE, Frontend.COPY_FAIL}, f"{kind.name} in a COPY"
        simple, self._copying = self._copying == "Q", ""
        if kind is Frontend.COPY_DONE:
            self._say(backend.command_complete("COPY 1"))
        else:
            self._fail(skip=not simple)
        if simple:
            self._ready()

    def _command(self, kind: Frontend, raw: bytes) -> None:
        match kind:
            case Frontend.QUERY:
                self._query(frontend.read_query(raw).text)
            case Frontend.PARSE:
                self._parse(frontend.read_parse(raw))
            case Frontend.BIND:
                self._bind(frontend.read_bind(raw))
            case Frontend.DESCRIBE:
                of_statement = frontend.read_target(raw).kind == ord("S")
                self._say(*[backend.parameter_description(())] * of_statement, _OK(Backend.NO_DATA))
            case Frontend.CLOSE:
                target = frontend.read_target(raw)
                (self._statements if target.kind == ord("S") else self._portals).pop(target.name, None)
                self._say(_OK(Backend.CLOSE_COMPLETE))
            case Frontend.EXECUTE:
                self._execute(frontend.read_execute(raw))
            case Frontend.FUNCTION_CALL:
                function = frontend.read_function_call(raw).function
                assert not self._must_not("F", str(function).encode()), function
                if function == 0:
                    self._fail(skip=False)
                else:
                    self._say(message(Backend.FUNCTION_CALL_RESPONSE, b"\xff\xff\xff\xff"))
                self._ready()
            case _:
                raise AssertionError(f"{kind.name} reached the database")

    def _query(self, text: bytes) -> None:
        assert not self._must_not("E", text), text
        self._statements.pop(b"", None)
        if b"copy" in text:
            self._copying = "Q"
            self._say(_COPY_IN, flush=True)
            return
        if _is_wrong(text):
            self._fail(skip=False)
        else:
            self._say(_DONE if text else _OK(Backend.EMPTY_QUERY_RESPONSE))
        self._ready()

    def _parse(self, parse: frontend.Parse) -> None:
        assert not self._must_not("P", parse.text), parse.text
        if not parse.name:
            self._statements.pop(b"", None)
        if _is_wrong(parse.text) or parse.name in self._statements:
            self._fail(skip=True)
        else:
            self._statements[parse.name] = parse.text
            self._say(_OK(Backend.PARSE_COMPLETE))

    def _bind(self, bind: frontend.Bind) -> None:
        text = self._statements.get(bind.statement)
        if text is None or (bind.portal and bind.portal in self._portals):
            self._fail(skip=True)
        else:
            self._portals[bind.portal] = text
            self._say(_OK(Backend.BIND_COMPLETE))

    def _execute(self, execute: frontend.Execute) -> None:
        text = self._portals.get(execute.portal)
        if text is None or b"fails" in text:
            self._fail(skip=True)
            return
        assert not self._must_not("E", text), text
        if b"copy" in text:
            self._copying = "E"
            self._say(_COPY_IN, flush=True)
        else:
            self._say(_DONE)


def _is_wrong(text: bytes) -> bool:
    return text.startswith((b"pgguard refused", b"wrong"))
