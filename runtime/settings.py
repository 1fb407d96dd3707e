"""One typed settings object: environment variables `LATENTLINE_*`, checked at start, secrets never shown."""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import DirectoryPath, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from runtime.network_allowance import parse_allowances

DEFAULT_KEY = "latentline-development-key"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="LATENTLINE_", frozen=True, extra="ignore")

    data_dir: Path = Field(Path(".latentline"), description="folder of the local stack and of a worker's spool")
    kafka_bootstrap: str = Field("127.0.0.1:9092", description="bootstrap servers, host:port[,host:port]")
    kafka_username: str = Field("", description="who we are to the broker (SCRAM-SHA-512); empty: it does not ask")
    kafka_password: SecretStr = Field(SecretStr(""), description="password of that user")
    signing_key: SecretStr = Field(SecretStr(""), description="signs prompts in that user's name; empty: unsigned")
    signers_file: Path | None = Field(None, description="JSON: who may sign for which tenant; none: anybody may")
    secrets_dir: DirectoryPath | None = Field(
        None, description="folder with secrets as files, each named as its variable in lower case; variables win"
    )
    topic_prefix: str = Field("", description="put before every topic, group and transactional id")
    cells: int = Field(
        1, ge=1, description="cells of this line, one partition each in per-cell topics; more than 1 is refused for now"
    )
    cell: int = Field(0, ge=0, description="the cell of this worker, below the number of cells")

    store_endpoint: str = Field("127.0.0.1:9000", description="S3 endpoint, host:port")
    store_access_key: str = Field("latentline", description="S3 access key")
    store_secret_key: SecretStr = Field(SecretStr(""), description="S3 secret key")
    store_bucket: str = Field("latentline", description="bucket of artifacts and videos")
    store_secure: bool = Field(False, description="HTTPS to the store")
    store_region: str = Field("us-east-1", description="S3 region")
    store_public_endpoint: str = Field(
        "", description="S3 endpoint as clients of the gateway reach it, host:port; empty = as the line does"
    )

    bundles: str = Field("bundles/tiny", description="bundle folders, separated by the path separator")
    default_model: str = Field("tiny", description="model of a prompt that names none")

    worker_name: str = Field(default_factory=socket.gethostname, description="stable name of this worker")
    node_name: str = Field(default_factory=socket.gethostname, description="machine of this worker: what fails as one")
    last_end: str = Field(
        "", max_length=2000, description="how the former life of this worker ended; set by its supervisor"
    )
    slots: int = Field(1, ge=1, description="tasks a worker holds at once, over all its stages")
    threads: int = Field(2, ge=1, description="CPU threads of the compute child; part of the bit class")
    device: str = Field("cpu", description="torch device of the compute child")

    heartbeat_interval_s: float = Field(3.0, gt=0, description="seconds between heartbeats")
    worker_lost_after_s: float = Field(8.0, gt=0, description="heartbeat age at which a worker is gone")
    unread_lease_after_s: float = Field(5.0, gt=0, description="age at which a lease above the echo is voided")
    step_deadline_s: float = Field(
        120.0, gt=0, description="seconds without a step after which the compute child is replaced, at the least"
    )
    checkpoint_interval_s: float = Field(
        0.0, ge=0, description="seconds of denoise work between checkpoints; 0 = by Young's rule, from what one costs"
    )
    checkpoint_interval_min_s: float = Field(0.5, gt=0, description="Young's rule: at least")
    checkpoint_interval_max_s: float = Field(60.0, gt=0, description="Young's rule: at most")
    mean_time_between_failures_s: float = Field(
        300.0, gt=0, description="Young's rule: seconds of work until a denoise loses its worker, on average"
    )
    drain_grace_s: float = Field(20.0, ge=0, description="seconds a terminating worker may still work")
    spool_max_bytes: int = Field(
        4 * 1024**3, ge=0, description="bytes of finished results that a worker keeps on local disk for an absent store"
    )
    least_free_bytes: int = Field(
        512 * 1024**2, ge=0, description="free bytes of the data folder's disk below which a worker takes no task"
    )
    parked_lease_after_s: float = Field(
        60.0, gt=0, description="age at which a result that waits for the store is computed elsewhere, at the least"
    )
    max_attempts: int = Field(3, ge=1, description="attempts of a stage that cost an attempt")
    suspicion_limit: int = Field(
        3, ge=1, description="started leases lost while alone on a node before a job is dead-lettered"
    )

    stuck_after_s: float = Field(
        60.0,
        gt=0,
        description="seconds without a turn of its loop after which a service ends itself, to be started anew",
    )
    retention_ephemeral_s: float = Field(
        24 * 3600.0, gt=0, description="seconds from its end that a video of the class `ephemeral` is kept"
    )
    retention_standard_s: float = Field(
        30 * 24 * 3600.0, gt=0, description="seconds from its end that a video of the class `standard` is kept"
    )
    erase_again_after_s: float = Field(
        600.0, ge=0, description="seconds after a deletion at which the store is searched again for what came late"
    )
    gc_interval_s: float = Field(3600.0, ge=0, description="seconds between two runs of gc by the janitor; 0 = none")
    gc_grace_s: float = Field(
        24 * 3600.0, ge=0, description="seconds that gc leaves an object alone which nobody refers to"
    )

    metrics_host: str = Field("127.0.0.1", description="address of /metrics and /healthz")
    metrics_port: int = Field(0, ge=0, le=65535, description="port of /metrics and /healthz; 0 = any")
    views_port: int = Field(8084, ge=0, le=65535, description="port of the views' read-only JSON")
    gateway_host: str = Field("127.0.0.1", description="address of the HTTP gateway")
    gateway_port: int = Field(8080, ge=0, le=65535, description="port of the HTTP gateway")
    gateway_database: SecretStr = Field(
        SecretStr(""), description="SQLAlchemy URL of its read model; empty = SQLite in data_dir"
    )
    gateway_delivery: Literal["proxy", "redirect"] = Field(
        "proxy",
        description="videos come through the gateway, or by a signed link to the store, unless a client asks for proxy",
    )
    gateway_mode: Literal["development", "production"] = Field(
        "development",
        description="production refuses to start with the development key, or with a key or secret that is short",
    )
    gateway_default_key: SecretStr = Field(
        SecretStr(DEFAULT_KEY),
        description="API key of the tenant `default`; empty = none. Unset it is the development key, which everybody "
        "knows: it opens on loopback, to programs of this machine",
    )
    gateway_key_secret: SecretStr = Field(SecretStr(""), description="secret under which API keys are hashed")
    gateway_streams: int = Field(
        100, ge=1, description="event streams that a tenant may hold open at once; each gateway counts for itself"
    )
    gateway_rate: str = Field(
        "6000/minute",
        description="requests of a tenant; each gateway counts for itself: of N side by side set each to an Nth; "
        "empty = any number",
    )
    gateway_create_rate: str = Field(
        "600/minute", description="of these, new videos; counted likewise; empty = any number"
    )
    gateway_webhook_test_rate: str = Field(
        "10/minute",
        description="samples and repeated deliveries that a tenant may ask for; counted likewise; empty = any number",
    )
    gateway_body_bytes: int = Field(
        8 * 1024**2,
        ge=1024,
        description="bytes of a body after which its connection is closed; above 64 kB it is refused",
    )
    gateway_cors_origins: str = Field(
        "", description="origins whose pages may ask the gateway, separated by commas; * = any; empty = none"
    )
    webhook_secret: SecretStr = Field(
        SecretStr(""), description="gateways and notifier derive the signing secrets of webhooks from it"
    )
    webhook_allow: str = Field(
        "",
        description="hosts and networks with their port that webhooks may reach although private, also without TLS; "
        "comma-separated, such as localhost:9000,10.1.0.0/16:443; :* is any port",
    )
    webhook_timeout_s: float = Field(15.0, gt=0, description="seconds a webhook's receiver has to answer")
    webhook_pace: float = Field(1.0, gt=0, le=1, description="the delays between attempts are multiplied by it")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto = console on a terminal")

    @field_validator("cells")
    @classmethod
    def _is_one_cell(cls, cells: int) -> int:
        """Nothing maps a tenant to its cell yet, so a second one would get jobs that nobody looks for there."""
        if cells > 1:
            raise ValueError(
                f"{cells} cells are not safe yet: workers, deletes and gauges know one cell only. Unset it, or set 1; "
                "independent lines on one broker are told apart by LATENTLINE_TOPIC_PREFIX"
            )
        return cells

    @field_validator("cell")
    @classmethod
    def _is_a_cell(cls, cell: int, info: ValidationInfo) -> int:
        cells = info.data.get("cells", cell + 1)
        if cell >= cells:
            raise ValueError(f"{cell} is no cell of this line: they are numbered from 0 to {cells - 1}")
        return cell

    @field_validator("checkpoint_interval_max_s")
    @classmethod
    def _keeps_order(cls, most: float, info: ValidationInfo) -> float:
        least = info.data.get("checkpoint_interval_min_s", most)
        if most < least:
            raise ValueError(f"{most} is below LATENTLINE_CHECKPOINT_INTERVAL_MIN_S = {least}")
        return most

    @field_validator("webhook_allow")
    @classmethod
    def _names_ports(cls, text: str) -> str:
        parse_allowances(text)
        return text

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        """The folder of secrets is itself named by a variable."""
        folder = os.environ.get("LATENTLINE_SECRETS_DIR")
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, folder)


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once. Raises `pydantic.ValidationError` naming the variable."""
    return Settings()
