"""Environment -> one frozen Settings. Nothing else reads the environment."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every setting, from `OPPORTUNE_*`. See docs/operations.md for the table."""

    model_config = SettingsConfigDict(env_prefix="OPPORTUNE_", frozen=True, extra="ignore")

    home: Path = Field(Path(".opportune"), description="Folder with all embedded state; deleting it is a clean start.")
    playbook: Path | None = Field(None, description="Folder of YAML, or one file; null: the packaged default.")
    database_url: str | None = Field(None, description="SQLite in the home, or postgresql+psycopg://...")
    redis_url: str | None = Field(None, description="Feast online store on Redis when set.")
    online_store: Literal["auto", "sqlite", "redis", "postgres"] = Field(
        "auto", description="Feast online store; auto: Redis when its URL is set, else SQLite."
    )
    consistency_rate: float = Field(
        0.1, ge=0, le=1, description="Share of decisions whose features are recomputed offline and compared."
    )
    mlflow_uri: str | None = Field(None, description="MLflow tracking and registry; null: in the home.")
    api_key: str | None = Field(None, description="Admin key (all scopes).")
    write_key: str | None = Field(None, description="May only append events: safe in a browser.")
    decide_key: str | None = Field(None, description="Scores, decisions, statuses.")
    events_per_s: float | None = Field(None, gt=0, description="Events a second one process takes in; null: no limit.")
    trace_share: float = Field(0.01, ge=0, le=1, description="Share of decisions that become MLflow traces.")
    public_url: str | None = Field(None, description="Where customers reach our pages, like https://news.shop.example.")
    unsubscribe_link_days: int = Field(400, ge=1, le=36500, description="How long an unsubscribe link works.")
    preferences_link_days: int = Field(30, ge=1, le=36500, description="How long a link to the preference page works.")
    clock: Literal["wall", "replay"] = Field("wall", description="replay: now is an instant kept in the ledger.")

    @field_validator("public_url")
    @classmethod
    def _is_web_address(cls, value: str | None) -> str | None:
        """An http(s) address, with a path or not; a slash at its end is taken off."""
        if not value:
            return None
        if not re.fullmatch(r"https?://[^\s/?#<>\"']+(/[^\s?#<>\"']*)?", value):
            raise ValueError("it is no web address: write it like https://news.shop.example")
        return value.rstrip("/")

    @property
    def ledger_url(self) -> str:
        """The SQLAlchemy URL of the ledger."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'ledger.db'}"

    @property
    def is_sqlite(self) -> bool:
        """True when the ledger is SQLite."""
        return self.ledger_url.startswith("sqlite")
