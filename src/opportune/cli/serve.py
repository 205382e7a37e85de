"""opportune serve."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import click

from opportune.cli.printing import say


@click.command("serve", epilog="Example:  opportune serve --port 8000 --workers 2")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to bind to; anything but loopback needs a key."
)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Serving processes.")
@click.option("--work/--no-work", default=True, show_default=True, help="Run the worker beside the server.")
def command(host: str, port: int, workers: int, work: bool) -> None:
    """Serve the HTTP API; one worker process beside it unless --no-work."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before LightGBM loads: one request, one core
    from opportune.api.keys import may_bind
    from opportune.settings import Settings
    from opportune.wiring import Installation

    settings = Settings()
    if not may_bind(host, settings):
        raise click.ClickException(
            f"without any key the server binds to loopback only, not {host}: set OPPORTUNE_API_KEY, or leave out --host"
        )
    installation = Installation(settings)
    assert installation.playbook  # migrate once and fail early, before any process starts
    installation.close()
    stop = threading.Event()
    beside = threading.Thread(
        target=keep_working, args=([sys.executable, "-m", "opportune.cli.work", "--beside", str(os.getpid())], stop)
    )
    if work:
        beside.start()
    say(f"Opportune on http://{host}:{port}  (docs: /docs, metrics: /metrics; stop with Ctrl-C)")
    import uvicorn

    try:
        uvicorn.run(
            "opportune.api.serving:from_environment",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            loop="uvloop",
            http="opportune.api.protocol:PlainHttp",
            ws="none",
            log_level="warning",
            access_log=False,
        )
    finally:
        stop.set()
        if work:
            beside.join()


def keep_working(command: Sequence[str], stop: threading.Event, pause_s: float = 1.0) -> None:
    """Run the worker until told to stop; when it ends by itself start it again, ever more slowly up to 30 s.

    Without it no timer fires and no message leaves, and nothing else would say so.
    """
    next_pause_s = pause_s
    while not stop.is_set():
        started = time.monotonic()
        worker = subprocess.Popen(command)
        while worker.poll() is None and not stop.wait(0.1):
            pass
        if worker.returncode is None:
            worker.send_signal(signal.SIGTERM)
            try:
                worker.wait(15)
            except subprocess.TimeoutExpired:
                worker.kill()
            return
        if time.monotonic() - started > 60:
            next_pause_s = pause_s
        say(f"the worker ended with code {worker.returncode}; starting it again in {next_pause_s:.0f} s")
        stop.wait(next_pause_s)
        next_pause_s = min(next_pause_s * 2, 30.0)
