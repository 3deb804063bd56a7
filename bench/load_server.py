"""A server of `qwen3tts serve` in a process that measures where its time goes.

    python bench/load_server.py '{"models": ["pocket"], "max_batch": 8}'

bench/serve_load.py runs it. The argument is a JSON object with fields of ServeSettings. Prints a line with the port
once the server is ready, and for each line on standard input a line with a `Usage` as a JSON object. Ends at the end of
standard input.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any

from qwen3tts_cli.cli import names_and_paths
from qwen3tts_cli.engine import model as engine_model
from qwen3tts_cli.scheduling.scheduler import Scheduler
from qwen3tts_cli.serve.run import Server
from qwen3tts_cli.serve.settings import ServeSettings

_ENGINE_THREAD = "qwen3tts engine"


@dataclass
class Usage:
    """Seconds since the start of the process, of which two usages are subtracted.

    wall: by the clock. process: processor time of all threads. native: by the clock inside q3t_step. working: by the
    clock, of the thread that steps the engine, while there was something to step. python: processor time of threads
    that run Python, without q3t_step. steps: how many there were. frames: of all sessions in them.
    """

    wall: float = 0.0
    process: float = 0.0
    native: float = 0.0
    working: float = 0.0
    python: float = 0.0
    steps: int = 0
    frames: int = 0


class Meter:
    """Measures the engine's steps of this process, and the processor time of its threads."""

    def __init__(self) -> None:
        self._usage = Usage()
        self._engine = 0.0  # processor time of the scheduler's threads without q3t_step
        self._measure_steps()
        self._measure_work()

    def _measure_steps(self) -> None:
        lib, usage = engine_model.lib, self._usage
        timed = SimpleNamespace(**{name: getattr(lib, name) for name in dir(lib)})

        def step(model: Any, handles: Any, count: int, *more: Any) -> int:
            start, used = time.perf_counter(), time.thread_time()
            status = lib.q3t_step(model, handles, count, *more)
            self._engine -= time.thread_time() - used
            usage.native += time.perf_counter() - start
            usage.steps += 1
            usage.frames += count
            return status

        timed.q3t_step = step
        engine_model.lib = timed

    def _measure_work(self) -> None:
        run, usage = Scheduler._run_thread, self._usage

        def run_thread(scheduler: Scheduler) -> bool:
            start, used, steps = time.perf_counter(), time.thread_time(), usage.steps
            goes_on = run(scheduler)
            self._engine += time.thread_time() - used
            if usage.steps > steps:
                usage.working += time.perf_counter() - start
            return goes_on

        Scheduler._run_thread = run_thread  # type: ignore[method-assign]

    def usage(self) -> Usage:
        """The usage until now."""
        others = [each.ident for each in threading.enumerate() if each.name != _ENGINE_THREAD]
        python = self._engine + sum(time.clock_gettime(time.pthread_getcpuclockid(ident)) for ident in others)
        values = {"wall": time.perf_counter(), "process": time.process_time(), "python": python}
        return Usage(**asdict(self._usage) | values)


def main() -> None:
    given = json.loads(sys.argv[1])
    given["models"] = tuple(names_and_paths.model(name) for name in given["models"])
    meter = Meter()

    def note(line: str) -> None:
        if line.startswith("ready: "):
            print(server.url.rpartition(":")[2], flush=True)
        else:
            print(line, file=sys.stderr)

    server = Server(ServeSettings(**{"port": 0, **given}), note, lambda line: None)

    def answer() -> None:
        for _ in sys.stdin:
            print(json.dumps(asdict(meter.usage())), flush=True)
        server.stop()

    threading.Thread(target=answer, daemon=True).start()
    server.run()


if __name__ == "__main__":
    main()
