"""Commands: what is wrong is one line that says what to do, and the exit code tells; the worker is kept running."""

import sys
import threading
import time
from pathlib import Path

import pytest

from opportune.cli import main
from opportune.cli.serve import keep_working


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home."""
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPPORTUNE_DATABASE_URL", raising=False)
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("at", "out", "says"),
    [
        ("yesterday", "d.parquet", "write 2026-10-31"),
        ("2999-01-01", "d.parquet", "lies in the future"),
        ("2011-01-01", "nowhere/d.parquet", "make it first"),
    ],
)
def test_decide_says_what_is_wrong_with_its_options(
    at: str, out: str, says: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("decide", "--at", at, "--out", str(home / out)) == 2
    assert says in capsys.readouterr().err


def test_check_says_when_no_customer_can_unsubscribe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marketing e-mail and no public URL: valid, with a note; with one, nothing to say. An odd URL is refused."""
    monkeypatch.delenv("OPPORTUNE_PUBLIC_URL", raising=False)
    assert run("check") == 0
    assert "OPPORTUNE_PUBLIC_URL is not set" in capsys.readouterr().out
    monkeypatch.setenv("OPPORTUNE_PUBLIC_URL", "https://news.shop.example/")
    assert run("check") == 0
    assert "OPPORTUNE_PUBLIC_URL" not in capsys.readouterr().out
    monkeypatch.setenv("OPPORTUNE_PUBLIC_URL", "news.shop.example")
    assert run("check") == 1
    assert "it is no web address" in capsys.readouterr().err


def test_a_file_of_which_nothing_can_be_read_is_no_success(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Some lines refused is a success with a report; all of them is not."""
    good = '{"type": "track", "userId": "c1", "event": "Seen", "messageId": "m1", "timestamp": "2026-01-01T00:00:00Z"}'
    (home / "mixed.jsonl").write_text(good + "\nnot json\n")
    (home / "bad.jsonl").write_text("root:x:0:0\nnot json\n")
    assert run("ingest", str(home / "mixed.jsonl"), "--format", "segment") == 0
    assert run("ingest", str(home / "bad.jsonl"), "--format", "segment") == 1
    assert "dead-letters" in capsys.readouterr().err


def test_a_worker_that_ends_by_itself_is_started_again_and_stops_when_told(home: Path) -> None:
    """Two crashes, then a worker that stays until the server stops."""
    log = home / "starts"
    script = (
        f"import sys, time; f = open({str(log)!r}, 'a+'); f.write('x'); f.flush(); f.seek(0); n = len(f.read());"
        " sys.exit(1) if n < 3 else time.sleep(60)"
    )
    stop = threading.Event()
    keeper = threading.Thread(target=keep_working, args=([sys.executable, "-c", script], stop, 0.01))
    keeper.start()
    give_up_at = time.monotonic() + 10
    while (not log.exists() or len(log.read_text()) < 3) and time.monotonic() < give_up_at:
        time.sleep(0.02)
    stop.set()
    keeper.join(10)
    assert (log.read_text(), keeper.is_alive()) == ("xxx", False)


def test_an_example_is_copied_with_its_tests_and_checked_as_one_file(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`init --example`, then `check` and `test`; an unknown name is met with those there are."""
    target = home / "mine"
    assert run("init", str(target), "--example", "trial") == 0
    assert run("test", str(target)) == 0
    assert run("check", str(target / "playbook.yaml")) == 0
    assert run("init", str(target), "--example", "event") == 1  # overwrites nothing
    capsys.readouterr()
    assert run("init", str(home / "other"), "--example", "trail") == 2
    assert "did you mean `trial`?; there are: absence," in capsys.readouterr().err
    assert run("init", str(home / "other"), "--example", "trial", "--from", str(target / "playbook.yaml")) == 2
