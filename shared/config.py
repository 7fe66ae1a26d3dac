"""Settings: the only reader of the environment.

Every setting is `FLYWHEEL_<NAME>`; a secret may also be given as `FLYWHEEL_<NAME>_FILE`, the path of a
file that holds it. Without any of them a process runs embedded, on the folder `.flywheel`.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import InvalidArgument

PREFIX = "FLYWHEEL_"
SPIN = {"GOMP_SPINCOUNT": "10000"}
"""See `spin_briefly`; for the environment of child processes."""


class Settings(BaseSettings):
    """What a process needs to know; see `flywheel doctor` for the values in force."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    home: Path = Field(Path(".flywheel"), description="folder of an embedded platform")
    broker_url: str = Field("", description="Redis or Valkey of the queues; embedded when empty")
    database_url: str = Field("", description="PostgreSQL or SQLite; a file in home when empty")
    artifacts_url: str = Field("", description="folder or s3://bucket/prefix; a folder in home when empty")
    artifacts_endpoint: str = Field("", description="endpoint of an S3-protocol store other than AWS")
    cache: Path | None = Field(None, description="converted base models and fetched artifacts; in home when empty")

    inference_address: str = Field("", description="host:port where clients reach inference")
    ingestion_address: str = Field("", description="host:port where clients reach ingestion")
    control_address: str = Field("", description="host:port where clients reach control")
    listen: str = Field(
        "127.0.0.1:0", description="host:port where this service's gRPC server listens; port 0 picks one"
    )
    metrics_listen: str = Field("127.0.0.1:0", description="host:port of this service's /metrics; port 0 picks one")

    tls_cert: str = Field("", description="PEM file: this process's certificate, with its chain; gRPC is encrypted")
    tls_key: str = Field("", description="PEM file: the certificate's private key")
    tls_ca: str = Field("", description="PEM file: whom this process trusts as a server, or `system`")
    tls_client_ca: str = Field("", description="PEM file: whose clients a server lets in (mutual TLS)")
    api_key: str = Field("", description="key that this process shows to servers")
    api_keys: str = Field("", description="YAML: keys that a server lets in, with tenant, roles and quotas")
    api_keys_file: str = Field("", description="the same as a file, read again when it changes")
    max_message_bytes: int = Field(4 << 20, ge=1 << 16, le=1 << 30, description="a longer gRPC message is refused")

    queues: str = Field("", description="comma-separated queues of this worker; the service's own when empty")
    concurrency: int = Field(1, ge=1, le=256, description="messages that this worker handles at once")
    device: str = Field("auto", description="auto, cpu or cuda")
    weights: str = Field(
        "auto",
        pattern="^(auto|float32|bfloat16|int8)$",
        description="how inference keeps the weights of models that write text; auto is bfloat16 where that is fast",
    )
    cache_bytes: int = Field(
        0, ge=0, description="memory for keys and values of an engine's running requests; 0 leaves it to the service"
    )
    threads: int = Field(0, ge=0, le=512, description="torch threads of this process; 0 leaves it to the service")
    grace_seconds: float = Field(30, gt=0, description="time a service has to drain after SIGTERM")
    lease_seconds: float = Field(15, gt=0, description="a worker silent for this long has lost its run")
    visibility_seconds: int = Field(300, gt=0, description="the broker delivers an unrenewed message again after this")
    redelivery_seconds: float = Field(60, gt=0, description="an unfinished message is published again after this")
    stall_seconds: float = Field(900, gt=0, description="a training process silent for this long is stopped")
    allow_revisions: bool = Field(
        False, description="runs go on at checkpoints that another code revision made; it is kept in the lineage"
    )
    cpu_cost: float = Field(1, ge=0, description="cost units of a second of training on a CPU worker")
    cuda_cost: float = Field(10, ge=0, description="cost units of a second of training on a CUDA worker")
    checkpoint_seconds: float = Field(30, gt=0, description="time between two checkpoints of a run")
    max_attempts: int = Field(3, ge=1, description="attempts at a job, or at a message, before it is given up")
    tracking: str = Field(
        "",
        pattern="^(|mlflow|wandb)$",
        description="mlflow or wandb follow runs as well, by their own variables (MLFLOW_TRACKING_URI, WANDB_MODE, …); "
        "TensorBoard files are always written",
    )
    personal_data_key: str = Field(
        "", description="secret that hashes of personal data are keyed with; an embedded platform makes its own"
    )
    max_row_bytes: int = Field(65_536, gt=0, description="a longer row goes to quarantine")
    import_buckets: str = Field(
        "", description="comma-separated buckets, or bucket/prefix, that rows may be imported from; empty is none"
    )
    import_folders: str = Field(
        "", description="comma-separated folders of ingestion's machine that rows may be imported from; empty is none"
    )
    import_hosts: str = Field(
        "", description="comma-separated hosts, or *.domain, that rows may be imported from by https; empty is none"
    )
    import_ports: str = Field("443", description="comma-separated ports of those hosts")
    import_networks: str = Field(
        "", description="comma-separated networks (CIDR) that those hosts may lie in, beside public addresses"
    )
    import_plain_http: bool = Field(False, description="http:// is allowed as well: for tests on one machine")
    import_ca: str = Field(
        "", description="PEM file: authorities that https sources are trusted by; system's when empty"
    )
    import_max_bytes: int = Field(16 << 30, gt=0, description="a larger source of an import is refused")
    import_seconds: float = Field(3600, gt=0, description="time that fetching one file of an import may take")
    import_threads: int = Field(2, ge=1, le=64, description="imports that one ingestion process runs at once")
    stream_servers: str = Field(
        "", description="comma-separated NAME=URL: Redis servers whose streams pipelines may follow, beside the broker"
    )
    memory_bytes: int = Field(
        0,
        ge=0,
        description="memory that loaded model versions may take; 0 is three fifths of the machine's or device's",
    )
    engines: str = Field(
        "",
        description="model=engine, comma-separated, for models that write text; engines are torch (default) and vllm",
    )
    vllm_python: str = Field(
        "", description="interpreter of the environment that vLLM is installed in; this process's own when empty"
    )
    max_waiting_requests: int = Field(256, gt=0, description="requests that may wait in inference")
    max_waiting_tokens: int = Field(65_536, gt=0, description="prompt tokens that may wait in inference")
    log_format: str = Field("json", pattern="^(json|text)$", description="json or text")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")

    @model_validator(mode="after")
    def _absolute_folders(self) -> Self:
        object.__setattr__(self, "home", self.home.absolute())
        return self

    @cached_property
    def resolved_database_url(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'flywheel.db'}"

    @cached_property
    def resolved_artifacts_url(self) -> str:
        return self.artifacts_url or str(self.home / "artifacts")

    @cached_property
    def cache_folder(self) -> Path:
        return (self.cache or self.home / "cache").absolute()

    def cost_rate(self, device: str) -> float:
        """Cost units of a second of training on a device kind, `cpu` or `gpu`."""
        return self.cpu_cost if device == "cpu" else self.cuda_cost


def load_settings(**overrides: Any) -> Settings:
    """Reads the environment; `overrides` win over it.

    Raises InvalidArgument naming the setting, its value and what it takes.
    """
    try:
        return Settings(**{**_secrets_from_files(), **overrides})
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        raise InvalidArgument(f"{name}={first.get('input')!r}: {first['msg']}", field=name) from None


def _secrets_from_files() -> dict[str, str]:
    found = {}
    for name in Settings.model_fields:
        path = os.environ.get(f"{PREFIX}{name.upper()}_FILE")
        if path and f"{name}_file" not in Settings.model_fields:
            try:
                found[name] = Path(path).read_text().strip()
            except OSError as error:
                raise InvalidArgument(f"{PREFIX}{name.upper()}_FILE={path!r}: {error.strerror}") from None
    return found


def child_environment(**settings: object) -> dict[str, str]:
    """The environment for a child process: this one's, with the given settings set."""
    return {
        **os.environ,
        **{PREFIX + name.upper(): str(value) for name, value in settings.items() if value is not None},
    }


def launched_processes() -> int:
    """How many processes torchrun or `accelerate launch` started as this one was; 1 when neither started it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def spin_briefly() -> None:
    """Lets OpenMP threads spin for microseconds at a barrier, then sleep; call it before the first import of torch.

    They spin for milliseconds otherwise, and hold the core that a late one needs when other processes use it too:
    steps were measured at a third of the speed. Sleeping at once costs a wake-up at every operation: 66 steps of
    MiniLM took 32 s on two quiet cores, and 23 s with a brief spin (36 s and 32 s beside a busy neighbour).
    """
    for name, value in SPIN.items():
        os.putenv(name, value)
