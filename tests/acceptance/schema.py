"""schemathesis against a running server: cases made from /openapi.json, well-formed and not."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

#: What must hold of every answer. Left out: that every request the schema allows is accepted (a schema cannot say that
#: an instant lies before 1970 or that a playbook has no such trigger).
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "ignored_auth", "unsupported_method",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """How many cases were sent, and what failed: empty when nothing did."""

    n_cases: int
    failures: str


def explore(url: str, folder: Path, per_operation: int, seed: int, key: str, phases: str = "") -> Found:
    """Run schemathesis with at most `per_operation` made-up cases an operation, besides its fixed ones.

    `phases`: of schemathesis, separated by commas; empty: all. The replay clock is left out: it would move now for
    all that follows. Raises RuntimeError when it cannot run.
    """
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json", "--no-color"]
    command += ["--max-examples", str(per_operation), "--seed", str(seed), "--checks", ",".join(CHECKS)]
    command += ["--continue-on-failure", "--generation-database", "none", "--exclude-path", "/v1/clock"]
    command += ["--header", f"Authorization: Bearer {key}"]
    command += ["--phases", phases] if phases else []
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=1800)
    cases = re.search(r"([\d,]+) generated", done.stdout)
    if cases is None or done.returncode not in (0, 1):
        raise RuntimeError(f"schemathesis could not run: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    _, _, failures = done.stdout.partition("= FAILURES =")
    return Found(int(cases[1].replace(",", "")), failures if done.returncode else "")
