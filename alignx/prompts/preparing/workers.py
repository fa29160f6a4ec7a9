"""Work on several processes, its results in order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any

from alignx.errors import DataError, PartialError
from alignx.prompts.preparing.making import Draft, Job, Making

_making: Making | None = None


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """Makes drafts, here or on processes of its own, which start when there is work for two."""

    def __init__(self, making: Making, count: int) -> None:
        """Name the work; nothing is started yet.

        Args:
            making: What every process knows.
            count: Of processes; with 1 everything happens in this one.
        """
        self._making, self._count = making, count
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        """Nothing yet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the processes: at once if something went wrong, as what they do is of no use any more."""
        if self._pool is None:
            return
        if kind is not None:
            for process in list((self._pool._processes or {}).values()):
                process.terminate()
        # waited for, or the pool's own thread closes a pipe that Python's exit writes to, which complains
        self._pool.shutdown(cancel_futures=True)

    def in_order(self, jobs: Iterable[tuple[Job, Draft | None]]) -> Iterator[tuple[Job, Draft, bool]]:
        """Each job with its draft, and whether that is new, in order.

        Few are ahead of the one that is asked for, so that memory stays flat.

        Args:
            jobs: Each with its draft if that is there already.

        Raises:
            DataError: There are no more jobs because of it; it is raised after all that come before it.
            PartialError: A process was killed; what is on disk is kept.
        """
        jobs, failed, ahead = iter(jobs), None, self._count + max(2, self._count // 4)
        window: deque[tuple[Job, Draft | Future[Draft] | None]] = deque()
        while True:
            try:
                for job, draft in islice(jobs, max(0, ahead - len(window))):
                    window.append((job, draft if draft is not None else self._submit(job)))
            except DataError as error:  # a file that is cut, beyond rows that may be all that is wanted
                failed = error
            if self._pool is None and self._count > 1 and sum(found is None for _, found in window) > 1:
                self._pool = _start(self._making, self._count)
                window = deque((job, self._submit(job) if found is None else found) for job, found in window)
            if not window:
                if failed is not None:
                    raise failed
                return
            job, found = window.popleft()
            yield job, self._result(job, found), not isinstance(found, Draft)

    def again(self, job: Job) -> Draft:
        """A draft now, ahead of the others."""
        return self._result(job, self._submit(job))

    def _submit(self, job: Job) -> Future[Draft] | None:
        try:
            with _interrupts_later():  # processes are started here, and until they begin would complain of them
                return self._pool.submit(_make, job) if self._pool is not None else None
        except BrokenProcessPool as error:
            raise _broken() from error

    def _result(self, job: Job, found: Draft | Future[Draft] | None) -> Draft:
        if found is None:
            with one_thread() if self._count == 1 else _as_it_is():
                return self._making.make(job)
        if isinstance(found, Draft):
            return found
        try:
            return found.result()
        except BrokenProcessPool as error:
            raise _broken() from error


def _broken() -> PartialError:
    return PartialError(
        "a process that prepared records was ended from outside (out of memory?), or could not begin (a script of your "
        "own needs `if __name__ == '__main__':`); the shards that are done are kept: run the same command again, with "
        "fewer --workers if memory is short"
    )


def _start(making: Making, count: int) -> ProcessPoolExecutor:
    # spawned, not forked: the tokenizer's and Arrow's threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, initializer=_begin, initargs=(making,))


def _begin(making: Making) -> None:
    """What a process does first."""
    global _making
    _making = making
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and says so once
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(parent: Any) -> None:
    """End when the parent does, even by SIGKILL, which closes no queue."""
    parent.join()
    os._exit(1)


def _make(job: Job) -> Draft:
    assert _making is not None
    return _making.make(job)


@contextmanager
def one_thread() -> Iterator[None]:
    """A block in which the tokenizer uses one thread."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """A block that no interrupt breaks, nor any process that it starts; one that came is raised at its end.

    Blocked in this thread, which processes inherit; and noted for later, as any other thread may receive it and Python
    then raises it in the main one all the same.
    """
    handler = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread() and handler is not None
    came: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if ours:
        signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if came:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield
