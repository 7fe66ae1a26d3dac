"""Every metric of the platform: name, help, labels and buckets in one registry.

Labels have few values: never a job, run or request id.
"""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server

from shared.errors import Unavailable
from shared.rpc.addresses import parse_address

INFERENCE_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)
TOKEN_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.5, 1, 2)
QUEUE_BUCKETS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
TASK_BUCKETS = (0.005, 0.02, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600)
SWAP_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900)

# Inference
INFERENCE_REQUEST_SECONDS = Histogram(
    "flywheel_inference_request_seconds",
    "From arrival to the last byte.",
    ["method", "model", "code"],
    buckets=INFERENCE_BUCKETS,
)
INFERENCE_QUEUE_SECONDS = Histogram(
    "flywheel_inference_queue_seconds",
    "Waiting for a place in a batch.",
    ["model"],
    buckets=INFERENCE_BUCKETS,
)
INFERENCE_TIME_TO_FIRST_TOKEN_SECONDS = Histogram(
    "flywheel_inference_time_to_first_token_seconds",
    "From arrival to the first token.",
    ["model"],
    buckets=INFERENCE_BUCKETS,
)
INFERENCE_INTER_TOKEN_SECONDS = Histogram(
    "flywheel_inference_inter_token_seconds",
    "Between two tokens of a stream.",
    ["model"],
    buckets=TOKEN_BUCKETS,
)
INFERENCE_TOKENS = Counter("flywheel_inference_tokens", "Tokens by kind: prompt or completion.", ["model", "kind"])
INFERENCE_RUNNING_REQUESTS = Gauge("flywheel_inference_running_requests", "Requests being computed.", ["model"])
INFERENCE_WAITING_REQUESTS = Gauge("flywheel_inference_waiting_requests", "Requests waiting.", ["model"])
INFERENCE_WAITING_TOKENS = Gauge("flywheel_inference_waiting_tokens", "Prompt tokens waiting.", ["model"])
INFERENCE_CACHE_USED_RATIO = Gauge("flywheel_inference_cache_used_ratio", "Share of the cache in use.", ["model"])
INFERENCE_REJECTED = Counter("flywheel_inference_rejected", "Requests refused at the door.", ["reason"])
INFERENCE_CANCELLED = Counter("flywheel_inference_cancelled", "Requests that their client gave up.", ["model"])
INFERENCE_SWAP_SECONDS = Histogram(
    "flywheel_inference_swap_seconds", "From the alias move to serving it.", ["model"], buckets=SWAP_BUCKETS
)
INFERENCE_SWAP_DROPPED = Counter("flywheel_inference_swap_dropped", "Requests lost in a swap; must stay 0.", ["model"])
INFERENCE_MODEL_INFO = Gauge(
    "flywheel_inference_model_info", "1 for what is in service.", ["model", "version", "dataset_version"]
)
INFERENCE_MEMORY_BYTES = Gauge("flywheel_inference_memory_bytes", "Memory of the loaded versions.", ["model"])
INFERENCE_EVICTIONS = Counter("flywheel_inference_evictions", "Versions unloaded to make room for others.", ["model"])
INFERENCE_SHADOWS = Counter(
    "flywheel_inference_shadows",
    "Copies to shadows by outcome: agreed, differed, answered (not comparable), failed, skipped.",
    ["model", "version", "outcome"],
)
INFERENCE_SHADOW_SECONDS = Histogram(
    "flywheel_inference_shadow_seconds",
    "A shadow's answer, from its start.",
    ["model", "version"],
    buckets=INFERENCE_BUCKETS,
)

# Training
TRAINING_LOSS = Gauge("flywheel_training_loss", "Loss at the last step.", ["pipeline", "split"])
TRAINING_STEP = Gauge("flywheel_training_step", "Optimizer updates done.", ["pipeline"])
TRAINING_PROGRESS_RATIO = Gauge("flywheel_training_progress_ratio", "Steps done of all, 0 to 1.", ["pipeline"])
TRAINING_ETA_SECONDS = Gauge("flywheel_training_eta_seconds", "Time left, estimated.", ["pipeline"])
TRAINING_TOKENS_PER_SECOND = Gauge("flywheel_training_tokens_per_second", "Real tokens, without padding.", ["pipeline"])
TRAINING_LEARNING_RATE = Gauge("flywheel_training_learning_rate", "At the last step.", ["pipeline"])
TRAINING_GRADIENT_NORM = Gauge("flywheel_training_gradient_norm", "Before clipping, at the last step.", ["pipeline"])
TRAINING_RUNS = Gauge("flywheel_training_runs", "Jobs by state.", ["pipeline", "state"])
TRAINING_CHECKPOINT_SECONDS = Histogram(
    "flywheel_training_checkpoint_seconds", "Writing a checkpoint.", ["pipeline"], buckets=SWAP_BUCKETS
)
TRAINING_ATTEMPTS = Counter("flywheel_training_attempts", "Runs by how they ended.", ["outcome"])

# Queues
QUEUE_DEPTH = Gauge("flywheel_queue_depth", "Messages waiting.", ["queue"])
QUEUE_OLDEST_AGE_SECONDS = Gauge("flywheel_queue_oldest_age_seconds", "Age of the oldest message waiting.", ["queue"])
QUEUE_WAIT_SECONDS = Histogram(
    "flywheel_queue_wait_seconds", "From the outbox row to its handler.", ["queue"], buckets=QUEUE_BUCKETS
)
TASK_SECONDS = Histogram("flywheel_task_seconds", "Handling a message.", ["task", "outcome"], buckets=TASK_BUCKETS)
DEAD_LETTERS = Gauge("flywheel_dead_letters", "Messages given up and not replayed.")
OUTBOX_LAG_SECONDS = Gauge("flywheel_outbox_lag_seconds", "How long the oldest due message is overdue.")

# Data
INGESTION_ROWS = Counter(
    "flywheel_ingestion_rows", "Rows by outcome: accepted, duplicate or quarantined.", ["pipeline", "outcome"]
)
INGESTION_RULE_ROWS = Counter(
    "flywheel_ingestion_rule_rows",
    "Rows by rule and what it did: changed, masked, hashed, flagged or rejected.",
    ["pipeline", "rule", "action"],
)
INGESTION_BATCH_SECONDS = Histogram(
    "flywheel_ingestion_batch_seconds", "Taking in a batch.", ["pipeline"], buckets=TASK_BUCKETS
)
INGESTION_IMPORTS = Counter(
    "flywheel_ingestion_imports", "Imports by how a turn at them ended.", ["pipeline", "outcome"]
)
INGESTION_IMPORT_BYTES = Counter("flywheel_ingestion_import_bytes", "Bytes fetched by imports.", ["pipeline"])
INGESTION_IMPORT_PROGRESS_RATIO = Gauge(
    "flywheel_ingestion_import_progress_ratio", "Of the import that runs: bytes done of all, 0 to 1.", ["pipeline"]
)
INGESTION_IMPORT_ETA_SECONDS = Gauge(
    "flywheel_ingestion_import_eta_seconds", "Of the import that runs: time left, estimated.", ["pipeline"]
)
INGESTION_IMPORT_ROWS_PER_SECOND = Gauge(
    "flywheel_ingestion_import_rows_per_second", "Of the import that runs, lately.", ["pipeline"]
)
INGESTION_SOURCE_PENDING = Gauge(
    "flywheel_ingestion_source_pending", "Files or messages of a followed source that wait.", ["pipeline", "source"]
)
INGESTION_SOURCE_FAILING = Gauge(
    "flywheel_ingestion_source_failing",
    "1 while a followed source, or a file of it, can't be read.",
    ["pipeline", "source"],
)
INGESTION_SOURCE_ROWS = Counter(
    "flywheel_ingestion_source_rows", "Rows taken in from a followed source.", ["pipeline", "source"]
)
DATASET_VERSION_ROWS = Gauge("flywheel_dataset_version_rows", "Rows of the newest version.", ["pipeline", "split"])
DATASET_FRESHNESS_SECONDS = Gauge(
    "flywheel_dataset_freshness_seconds", "Since the newest version was sealed.", ["pipeline"]
)

# Judgement
EVALUATION_METRIC = Gauge(
    "flywheel_evaluation_metric",
    "Score on test rows; role is candidate, champion or base.",
    ["pipeline", "metric", "role"],
)
GATE_VERDICTS = Counter(
    "flywheel_gate_verdicts", "Verdicts, with the first rule that failed.", ["pipeline", "verdict", "reason"]
)
CHAMPION_VERSION = Gauge("flywheel_champion_version", "Version that the alias champion points at.", ["pipeline"])
CHAMPION_AGE_SECONDS = Gauge("flywheel_champion_age_seconds", "Since the champion was promoted.", ["pipeline"])
TRIGGER_DECISIONS = Counter(
    "flywheel_trigger_decisions", "Decisions: start, wait or no.", ["pipeline", "trigger", "decision"]
)
FEEDBACK = Counter("flywheel_feedback", "Feedback by rating: good, bad, neutral or none.", ["model", "rating"])


def serve_metrics(listen: str) -> str:
    """Serves /metrics on `host:port` (port 0 picks a free one) from its own thread. Returns `host:port`.

    Raises Unavailable when the port is in use.
    """
    host, port = parse_address(listen, "FLYWHEEL_METRICS_LISTEN")
    try:
        server, _ = start_http_server(port, host, REGISTRY)
    except OSError as error:
        raise Unavailable(
            f"FLYWHEEL_METRICS_LISTEN={listen}: {error.strerror}; choose another port, or 0", listen=listen
        ) from None
    return f"{host}:{server.server_port}"
