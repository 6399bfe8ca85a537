"""What the lab's servers have in common: each is one process that is started, waited for and ended."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import ClassVar, Self

from pgguard.lab.errors import LabError
from pgguard.lab.process import Process


class Server(ABC):
    """Runs from `start` to `stop`, or as long as it is a context. `title`: what errors call it."""

    title: ClassVar[str]
    _process: Process | None = None

    def start(self) -> None:
        """Return once it serves."""
        self._process = self._launch()
        self._process.wait_until(self._serves)

    @abstractmethod
    def _launch(self) -> Process: ...

    @abstractmethod
    def _serves(self) -> bool: ...

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise LabError(f"{self.title} is not running; start it first")
        return self._process.pid
