"""opportune serve."""

import os
import signal
import subprocess
import sys

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
    worker = subprocess.Popen([sys.executable, "-m", "opportune.cli.work"]) if work else None
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
            http="httptools",
            log_level="warning",
            access_log=False,
        )
    finally:
        if worker is not None:
            worker.send_signal(signal.SIGTERM)
            try:
                worker.wait(15)
            except subprocess.TimeoutExpired:
                worker.kill()
