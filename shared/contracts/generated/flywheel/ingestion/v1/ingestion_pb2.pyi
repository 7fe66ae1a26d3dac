import datetime

from shared.contracts.generated.flywheel.common.v1 import common_pb2 as _common_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BatchState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BATCH_STATE_UNSPECIFIED: _ClassVar[BatchState]
    BATCH_STATE_RECEIVED: _ClassVar[BatchState]
    BATCH_STATE_ACCEPTED: _ClassVar[BatchState]
    BATCH_STATE_HELD: _ClassVar[BatchState]
    BATCH_STATE_REJECTED: _ClassVar[BatchState]

class ImportState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMPORT_STATE_UNSPECIFIED: _ClassVar[ImportState]
    IMPORT_STATE_QUEUED: _ClassVar[ImportState]
    IMPORT_STATE_RUNNING: _ClassVar[ImportState]
    IMPORT_STATE_SUCCEEDED: _ClassVar[ImportState]
    IMPORT_STATE_FAILED: _ClassVar[ImportState]
    IMPORT_STATE_CANCELLED: _ClassVar[ImportState]

class DatasetVersionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATASET_VERSION_STATE_UNSPECIFIED: _ClassVar[DatasetVersionState]
    DATASET_VERSION_STATE_RECEIVED: _ClassVar[DatasetVersionState]
    DATASET_VERSION_STATE_VALIDATING: _ClassVar[DatasetVersionState]
    DATASET_VERSION_STATE_SEALED: _ClassVar[DatasetVersionState]
    DATASET_VERSION_STATE_QUARANTINED: _ClassVar[DatasetVersionState]
    DATASET_VERSION_STATE_REJECTED: _ClassVar[DatasetVersionState]
    DATASET_VERSION_STATE_EXPIRED: _ClassVar[DatasetVersionState]
BATCH_STATE_UNSPECIFIED: BatchState
BATCH_STATE_RECEIVED: BatchState
BATCH_STATE_ACCEPTED: BatchState
BATCH_STATE_HELD: BatchState
BATCH_STATE_REJECTED: BatchState
IMPORT_STATE_UNSPECIFIED: ImportState
IMPORT_STATE_QUEUED: ImportState
IMPORT_STATE_RUNNING: ImportState
IMPORT_STATE_SUCCEEDED: ImportState
IMPORT_STATE_FAILED: ImportState
IMPORT_STATE_CANCELLED: ImportState
DATASET_VERSION_STATE_UNSPECIFIED: DatasetVersionState
DATASET_VERSION_STATE_RECEIVED: DatasetVersionState
DATASET_VERSION_STATE_VALIDATING: DatasetVersionState
DATASET_VERSION_STATE_SEALED: DatasetVersionState
DATASET_VERSION_STATE_QUARANTINED: DatasetVersionState
DATASET_VERSION_STATE_REJECTED: DatasetVersionState
DATASET_VERSION_STATE_EXPIRED: DatasetVersionState

class BatchHeader(_message.Message):
    __slots__ = ("pipeline", "batch_key", "source", "format", "encoding", "filename", "offset", "size", "dry_run", "licence", "sha256")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    BATCH_KEY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    batch_key: str
    source: str
    format: str
    encoding: str
    filename: str
    offset: int
    size: int
    dry_run: bool
    licence: str
    sha256: str
    def __init__(self, pipeline: _Optional[str] = ..., batch_key: _Optional[str] = ..., source: _Optional[str] = ..., format: _Optional[str] = ..., encoding: _Optional[str] = ..., filename: _Optional[str] = ..., offset: _Optional[int] = ..., size: _Optional[int] = ..., dry_run: _Optional[bool] = ..., licence: _Optional[str] = ..., sha256: _Optional[str] = ...) -> None: ...

class AppendRowsRequest(_message.Message):
    __slots__ = ("header", "row", "rows")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    header: BatchHeader
    row: _struct_pb2.Struct
    rows: RowChunk
    def __init__(self, header: _Optional[_Union[BatchHeader, _Mapping]] = ..., row: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., rows: _Optional[_Union[RowChunk, _Mapping]] = ...) -> None: ...

class RowChunk(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[_struct_pb2.Struct]
    def __init__(self, rows: _Optional[_Iterable[_Union[_struct_pb2.Struct, _Mapping]]] = ...) -> None: ...

class ImportFileRequest(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: BatchHeader
    chunk: bytes
    def __init__(self, header: _Optional[_Union[BatchHeader, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class ReasonCount(_message.Message):
    __slots__ = ("reason", "rows")
    REASON_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    rows: int
    def __init__(self, reason: _Optional[str] = ..., rows: _Optional[int] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("id", "pipeline", "batch_key", "source", "state", "received", "accepted", "duplicates", "quarantined", "quarantine_reasons", "splits", "dataset_version", "reason", "created_at", "repeated_call", "near_duplicates", "rules", "preview", "format", "encoding", "licence")
    ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    BATCH_KEY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    QUARANTINE_REASONS_FIELD_NUMBER: _ClassVar[int]
    SPLITS_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    REPEATED_CALL_FIELD_NUMBER: _ClassVar[int]
    NEAR_DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    pipeline: str
    batch_key: str
    source: str
    state: BatchState
    received: int
    accepted: int
    duplicates: int
    quarantined: int
    quarantine_reasons: _containers.RepeatedCompositeFieldContainer[ReasonCount]
    splits: _common_pb2.SplitCounts
    dataset_version: int
    reason: str
    created_at: _timestamp_pb2.Timestamp
    repeated_call: bool
    near_duplicates: int
    rules: _containers.RepeatedCompositeFieldContainer[RuleCount]
    preview: _containers.RepeatedCompositeFieldContainer[PreviewRow]
    format: str
    encoding: str
    licence: str
    def __init__(self, id: _Optional[str] = ..., pipeline: _Optional[str] = ..., batch_key: _Optional[str] = ..., source: _Optional[str] = ..., state: _Optional[_Union[BatchState, str]] = ..., received: _Optional[int] = ..., accepted: _Optional[int] = ..., duplicates: _Optional[int] = ..., quarantined: _Optional[int] = ..., quarantine_reasons: _Optional[_Iterable[_Union[ReasonCount, _Mapping]]] = ..., splits: _Optional[_Union[_common_pb2.SplitCounts, _Mapping]] = ..., dataset_version: _Optional[int] = ..., reason: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., repeated_call: _Optional[bool] = ..., near_duplicates: _Optional[int] = ..., rules: _Optional[_Iterable[_Union[RuleCount, _Mapping]]] = ..., preview: _Optional[_Iterable[_Union[PreviewRow, _Mapping]]] = ..., format: _Optional[str] = ..., encoding: _Optional[str] = ..., licence: _Optional[str] = ...) -> None: ...

class RuleCount(_message.Message):
    __slots__ = ("rule", "action", "rows")
    RULE_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rule: str
    action: str
    rows: int
    def __init__(self, rule: _Optional[str] = ..., action: _Optional[str] = ..., rows: _Optional[int] = ...) -> None: ...

class PreviewRow(_message.Message):
    __slots__ = ("line", "outcome", "split", "fields", "reason", "message", "rules")
    LINE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    line: int
    outcome: str
    split: str
    fields: _struct_pb2.Struct
    reason: str
    message: str
    rules: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, line: _Optional[int] = ..., outcome: _Optional[str] = ..., split: _Optional[str] = ..., fields: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., rules: _Optional[_Iterable[str]] = ...) -> None: ...

class GetUploadRequest(_message.Message):
    __slots__ = ("pipeline", "batch_key")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    BATCH_KEY_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    batch_key: str
    def __init__(self, pipeline: _Optional[str] = ..., batch_key: _Optional[str] = ...) -> None: ...

class Upload(_message.Message):
    __slots__ = ("received", "batch", "expires_at")
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    received: int
    batch: Batch
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, received: _Optional[int] = ..., batch: _Optional[_Union[Batch, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ImportUriRequest(_message.Message):
    __slots__ = ("header", "uri")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    header: BatchHeader
    uri: str
    def __init__(self, header: _Optional[_Union[BatchHeader, _Mapping]] = ..., uri: _Optional[str] = ...) -> None: ...

class Import(_message.Message):
    __slots__ = ("id", "pipeline", "uri", "state", "reason", "bytes", "total_bytes", "rows", "rows_per_second", "eta_seconds", "batch", "created_at", "finished_at", "source")
    ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    ETA_SECONDS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    pipeline: str
    uri: str
    state: ImportState
    reason: str
    bytes: int
    total_bytes: int
    rows: int
    rows_per_second: float
    eta_seconds: float
    batch: Batch
    created_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    source: str
    def __init__(self, id: _Optional[str] = ..., pipeline: _Optional[str] = ..., uri: _Optional[str] = ..., state: _Optional[_Union[ImportState, str]] = ..., reason: _Optional[str] = ..., bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ..., rows: _Optional[int] = ..., rows_per_second: _Optional[float] = ..., eta_seconds: _Optional[float] = ..., batch: _Optional[_Union[Batch, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[str] = ...) -> None: ...

class GetImportRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListImportsRequest(_message.Message):
    __slots__ = ("pipeline", "page_size", "page_token")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    page_size: int
    page_token: str
    def __init__(self, pipeline: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListImportsResponse(_message.Message):
    __slots__ = ("imports", "next_page_token")
    IMPORTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    imports: _containers.RepeatedCompositeFieldContainer[Import]
    next_page_token: str
    def __init__(self, imports: _Optional[_Iterable[_Union[Import, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchImportRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class CancelImportRequest(_message.Message):
    __slots__ = ("id", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    reason: str
    def __init__(self, id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ListSourcesRequest(_message.Message):
    __slots__ = ("pipeline",)
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    def __init__(self, pipeline: _Optional[str] = ...) -> None: ...

class ListSourcesResponse(_message.Message):
    __slots__ = ("sources",)
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    sources: _containers.RepeatedCompositeFieldContainer[Source]
    def __init__(self, sources: _Optional[_Iterable[_Union[Source, _Mapping]]] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("pipeline", "name", "kind", "uri", "pending", "rows", "error", "seen_at", "retrying", "refused", "next_try_at")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SEEN_AT_FIELD_NUMBER: _ClassVar[int]
    RETRYING_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    NEXT_TRY_AT_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    name: str
    kind: str
    uri: str
    pending: int
    rows: int
    error: str
    seen_at: _timestamp_pb2.Timestamp
    retrying: int
    refused: int
    next_try_at: _timestamp_pb2.Timestamp
    def __init__(self, pipeline: _Optional[str] = ..., name: _Optional[str] = ..., kind: _Optional[str] = ..., uri: _Optional[str] = ..., pending: _Optional[int] = ..., rows: _Optional[int] = ..., error: _Optional[str] = ..., seen_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., retrying: _Optional[int] = ..., refused: _Optional[int] = ..., next_try_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ExplainRowRequest(_message.Message):
    __slots__ = ("pipeline", "row")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    row: str
    def __init__(self, pipeline: _Optional[str] = ..., row: _Optional[str] = ...) -> None: ...

class RowEvent(_message.Message):
    __slots__ = ("event", "subject", "detail", "at")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    event: str
    subject: str
    detail: str
    at: _timestamp_pb2.Timestamp
    def __init__(self, event: _Optional[str] = ..., subject: _Optional[str] = ..., detail: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RowLife(_message.Message):
    __slots__ = ("row", "events", "near", "dataset_versions", "model_versions")
    ROW_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEAR_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    row: Row
    events: _containers.RepeatedCompositeFieldContainer[RowEvent]
    near: _containers.RepeatedScalarFieldContainer[str]
    dataset_versions: _containers.RepeatedScalarFieldContainer[int]
    model_versions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, row: _Optional[_Union[Row, _Mapping]] = ..., events: _Optional[_Iterable[_Union[RowEvent, _Mapping]]] = ..., near: _Optional[_Iterable[str]] = ..., dataset_versions: _Optional[_Iterable[int]] = ..., model_versions: _Optional[_Iterable[int]] = ...) -> None: ...

class DeleteRowsRequest(_message.Message):
    __slots__ = ("pipeline", "rows", "sources", "reason")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    rows: _containers.RepeatedScalarFieldContainer[str]
    sources: _containers.RepeatedScalarFieldContainer[str]
    reason: str
    def __init__(self, pipeline: _Optional[str] = ..., rows: _Optional[_Iterable[str]] = ..., sources: _Optional[_Iterable[str]] = ..., reason: _Optional[str] = ...) -> None: ...

class Deletion(_message.Message):
    __slots__ = ("id", "rows", "batches", "unknown", "dataset_versions", "model_versions")
    ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    id: str
    rows: int
    batches: _containers.RepeatedScalarFieldContainer[str]
    unknown: _containers.RepeatedScalarFieldContainer[str]
    dataset_versions: _containers.RepeatedScalarFieldContainer[int]
    model_versions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, id: _Optional[str] = ..., rows: _Optional[int] = ..., batches: _Optional[_Iterable[str]] = ..., unknown: _Optional[_Iterable[str]] = ..., dataset_versions: _Optional[_Iterable[int]] = ..., model_versions: _Optional[_Iterable[int]] = ...) -> None: ...

class DiffDatasetVersionsRequest(_message.Message):
    __slots__ = ("pipeline", "first", "second")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    first: int
    second: int
    def __init__(self, pipeline: _Optional[str] = ..., first: _Optional[int] = ..., second: _Optional[int] = ...) -> None: ...

class DatasetDiff(_message.Message):
    __slots__ = ("pipeline", "first", "second", "added", "removed", "kept", "changes")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    first: int
    second: int
    added: int
    removed: int
    kept: int
    changes: _struct_pb2.Struct
    def __init__(self, pipeline: _Optional[str] = ..., first: _Optional[int] = ..., second: _Optional[int] = ..., added: _Optional[int] = ..., removed: _Optional[int] = ..., kept: _Optional[int] = ..., changes: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class ExportDatasetVersionRequest(_message.Message):
    __slots__ = ("pipeline", "version", "have")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HAVE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    version: int
    have: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ..., have: _Optional[_Iterable[str]] = ...) -> None: ...

class ExportChunk(_message.Message):
    __slots__ = ("manifest", "part", "data")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    manifest: bytes
    part: str
    data: bytes
    def __init__(self, manifest: _Optional[bytes] = ..., part: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class RecordFeedbackRequest(_message.Message):
    __slots__ = ("pipeline", "request_id", "model_version", "input", "output", "rating", "correction", "comment", "consent")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    RATING_FIELD_NUMBER: _ClassVar[int]
    CORRECTION_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    CONSENT_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    request_id: str
    model_version: int
    input: _struct_pb2.Struct
    output: str
    rating: float
    correction: str
    comment: str
    consent: bool
    def __init__(self, pipeline: _Optional[str] = ..., request_id: _Optional[str] = ..., model_version: _Optional[int] = ..., input: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., output: _Optional[str] = ..., rating: _Optional[float] = ..., correction: _Optional[str] = ..., comment: _Optional[str] = ..., consent: _Optional[bool] = ...) -> None: ...

class Feedback(_message.Message):
    __slots__ = ("id", "request_id", "batch")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    id: str
    request_id: str
    batch: Batch
    def __init__(self, id: _Optional[str] = ..., request_id: _Optional[str] = ..., batch: _Optional[_Union[Batch, _Mapping]] = ...) -> None: ...

class GetBatchRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListBatchesRequest(_message.Message):
    __slots__ = ("pipeline", "page_size", "page_token")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    page_size: int
    page_token: str
    def __init__(self, pipeline: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBatchesResponse(_message.Message):
    __slots__ = ("batches", "next_page_token")
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    batches: _containers.RepeatedCompositeFieldContainer[Batch]
    next_page_token: str
    def __init__(self, batches: _Optional[_Iterable[_Union[Batch, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class HoldBatchRequest(_message.Message):
    __slots__ = ("id", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    reason: str
    def __init__(self, id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ReleaseBatchRequest(_message.Message):
    __slots__ = ("id", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    reason: str
    def __init__(self, id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DatasetVersion(_message.Message):
    __slots__ = ("pipeline", "version", "state", "digest", "splits", "new_rows", "batches", "manifest_uri", "statistics", "parent", "sealed_at", "merkle_root", "licences", "leaks", "reason")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SPLITS_FIELD_NUMBER: _ClassVar[int]
    NEW_ROWS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_URI_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    SEALED_AT_FIELD_NUMBER: _ClassVar[int]
    MERKLE_ROOT_FIELD_NUMBER: _ClassVar[int]
    LICENCES_FIELD_NUMBER: _ClassVar[int]
    LEAKS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    version: int
    state: DatasetVersionState
    digest: str
    splits: _common_pb2.SplitCounts
    new_rows: int
    batches: _containers.RepeatedScalarFieldContainer[str]
    manifest_uri: str
    statistics: _struct_pb2.Struct
    parent: int
    sealed_at: _timestamp_pb2.Timestamp
    merkle_root: str
    licences: _containers.RepeatedScalarFieldContainer[str]
    leaks: int
    reason: str
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ..., state: _Optional[_Union[DatasetVersionState, str]] = ..., digest: _Optional[str] = ..., splits: _Optional[_Union[_common_pb2.SplitCounts, _Mapping]] = ..., new_rows: _Optional[int] = ..., batches: _Optional[_Iterable[str]] = ..., manifest_uri: _Optional[str] = ..., statistics: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., parent: _Optional[int] = ..., sealed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., merkle_root: _Optional[str] = ..., licences: _Optional[_Iterable[str]] = ..., leaks: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class ListDatasetVersionsRequest(_message.Message):
    __slots__ = ("pipeline", "page_size", "page_token")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    page_size: int
    page_token: str
    def __init__(self, pipeline: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDatasetVersionsResponse(_message.Message):
    __slots__ = ("versions", "next_page_token")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[DatasetVersion]
    next_page_token: str
    def __init__(self, versions: _Optional[_Iterable[_Union[DatasetVersion, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetDatasetVersionRequest(_message.Message):
    __slots__ = ("pipeline", "version", "languages")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    version: int
    languages: bool
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ..., languages: _Optional[bool] = ...) -> None: ...

class ReadRowsRequest(_message.Message):
    __slots__ = ("pipeline", "version", "split", "batches", "limit")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    version: int
    split: str
    batches: _containers.RepeatedScalarFieldContainer[str]
    limit: int
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ..., split: _Optional[str] = ..., batches: _Optional[_Iterable[str]] = ..., limit: _Optional[int] = ...) -> None: ...

class Row(_message.Message):
    __slots__ = ("id", "split", "batch", "fields")
    ID_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    id: str
    split: str
    batch: str
    fields: _struct_pb2.Struct
    def __init__(self, id: _Optional[str] = ..., split: _Optional[str] = ..., batch: _Optional[str] = ..., fields: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class ListQuarantineRequest(_message.Message):
    __slots__ = ("pipeline", "batch", "page_size", "page_token")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    batch: str
    page_size: int
    page_token: str
    def __init__(self, pipeline: _Optional[str] = ..., batch: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class QuarantinedRow(_message.Message):
    __slots__ = ("batch", "line", "reason", "field", "message", "raw")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    batch: str
    line: int
    reason: str
    field: str
    message: str
    raw: str
    def __init__(self, batch: _Optional[str] = ..., line: _Optional[int] = ..., reason: _Optional[str] = ..., field: _Optional[str] = ..., message: _Optional[str] = ..., raw: _Optional[str] = ...) -> None: ...

class ListQuarantineResponse(_message.Message):
    __slots__ = ("rows", "next_page_token")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[QuarantinedRow]
    next_page_token: str
    def __init__(self, rows: _Optional[_Iterable[_Union[QuarantinedRow, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
