"""What `opportune doctor` looks at before anything is opened: Python, libraries, home, keys, playbook, links."""

import importlib.metadata
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from opportune.settings import Settings

State = Literal["ok", "warn", "fail"]
_PINNED = {"feast": "0.67.0", "mlflow": "3.17.2", "lightgbm": "4.7.0"}
_BELOW = {"pandas": 3, "duckdb": 2}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what was found, and what to do when it is not well."""

    name: str
    state: State
    found: str
    do: str = ""

    def __str__(self) -> str:
        return f"{self.state:<5} {self.name:<14} {self.found}" + (f"\n      -> {self.do}" if self.do else "")


def guarded(name: str, do: str, look: Callable[[], Check]) -> Check:
    """The check, or a failed one that says what it ran into."""
    try:
        return look()
    except Exception as problem:  # noqa: BLE001 - whatever it is, it is the finding
        return Check(name, "fail", short(problem), do)


def python() -> Check:
    """The interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] == (3, 11):
        return Check("python", "ok", version)
    return Check(
        "python", "fail", f"{version} is not 3.11", "install Python 3.11 and run: make setup PYTHON=python3.11"
    )


def libraries() -> Check:
    """Those whose versions matter, and that LightGBM finds its OpenMP runtime."""
    wrong = []
    for name, wanted in _PINNED.items():
        if (there := _version(name)) != wanted:
            wrong.append(f"{name} {there or 'missing'} (needs {wanted})")
    for name, below in _BELOW.items():
        there = _version(name)
        if there is None or int(there.split(".")[0]) >= below:
            wrong.append(f"{name} {there or 'missing'} (needs < {below})")
    if wrong:
        return Check("libraries", "fail", ", ".join(wrong), "install from the lock file: make setup")
    try:
        import lightgbm  # noqa: F401
    except OSError as problem:
        do = "install the OpenMP runtime (Debian: apt-get install libgomp1)"
        return Check("libraries", "fail", f"LightGBM cannot load: {short(problem)}", do)
    return Check("libraries", "ok", ", ".join(f"{name} {_version(name)}" for name in (*_PINNED, *_BELOW)))


def home(settings: "Settings") -> Check:
    """The folder of embedded state can be written."""
    folder = settings.home.absolute()
    probe = folder / f".doctor-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as problem:
        return Check("home", "fail", f"{folder}: {problem.strerror}", "make it writable, or set OPPORTUNE_HOME")
    return Check("home", "ok", str(folder))


def keys(settings: "Settings") -> Check:
    """Who may ask."""
    given = [n for n in ("api_key", "write_key", "decide_key") if getattr(settings, n)]
    if not given:
        return Check(
            "keys", "warn", "none: the server binds to loopback only", "set OPPORTUNE_API_KEY before you serve others"
        )
    if not settings.api_key:
        named = ", ".join(f"OPPORTUNE_{n.upper()}" for n in given)
        return Check("keys", "warn", f"only {named}: nobody may administer", "set OPPORTUNE_API_KEY")
    return Check("keys", "ok", ", ".join(n.replace("_", " ") for n in given))


def playbook(settings: "Settings") -> Check:
    """It loads."""
    from opportune.playbook.check import check

    report = check(settings.playbook)
    where = str(settings.playbook or "the packaged default")
    if not report.is_valid:
        n = len(report.problems)
        return Check("playbook", "fail", f"{where}: {n} problem(s), the first: {report.problems[0]}", "opportune check")
    if report.warnings:
        return Check("playbook", "warn", f"{where}: {report.summary}", "opportune check shows the warnings")
    return Check("playbook", "ok", f"{where}: {report.summary}")


def links(settings: "Settings") -> Check:
    """Customers reach the pages to unsubscribe."""
    from opportune.playbook.check import check, sends_marketing_email

    url, playbook = settings.public_url, check(settings.playbook).playbook
    if url is not None and url.startswith("http://"):
        return Check("links", "warn", f"{url} is not https", "mail clients unsubscribe over https only (RFC 8058)")
    if url is not None:
        return Check("links", "ok", f"{url}/unsubscribe/..., {url}/preferences/...")
    if playbook is not None and sends_marketing_email(playbook):
        found = "no public URL: e-mails carry no List-Unsubscribe header, and no links to unsubscribe"
        return Check("links", "warn", found, "set OPPORTUNE_PUBLIC_URL to where customers reach this server")
    return Check("links", "ok", "no public URL, and no marketing e-mail known that would need one")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def short(problem: BaseException) -> str:
    """A problem in one line."""
    text = " ".join(str(problem).split()) or type(problem).__name__
    return text if len(text) <= 300 else text[:297] + "..."
