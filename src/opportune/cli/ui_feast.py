"""Feast's user interface on one home: `python -m opportune.cli.ui_feast HOME PORT`."""

import sys
from pathlib import Path


def main(home: Path, port: int) -> None:
    """Serve until stopped."""
    from opportune.adapters.feast_repo import open_store, place_of
    from opportune.settings import Settings

    s = Settings()
    store = open_store(place_of(home, s.redis_url, s.database_url, s.online_store))
    store.serve_ui(host="127.0.0.1", port=port)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
