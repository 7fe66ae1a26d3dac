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

class DatasetVersionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATASET_VERSION_STATE_UNSPECIFIED: _ClassVar[DatasetVersionState]
    DATASET_VERSION_STATE_RECEIVED: _ClassVar[DatasetVersionState]
    DATASET_VERSION_STATE_VALIDATING: _ClassVar[DatasetVersionState]
    DATASET_VERSION_STATE_SEALED: _ClassVar[DatasetVersionState]
    DATASET_VERSION_STATE_QUARANTINED: _ClassVar[DatasetVersionState]
    DATASET_VERSION_STATE_REJECTED: _ClassVar[DatasetVersionState]
BATCH_STATE_UNSPECIFIED: BatchState
BATCH_STATE_RECEIVED: BatchState
BATCH_STATE_ACCEPTED: BatchState
BATCH_STATE_HELD: BatchState
BATCH_STATE_REJECTED: BatchState
DATASET_VERSION_STATE_UNSPECIFIED: DatasetVersionState
DATASET_VERSION_STATE_RECEIVED: DatasetVersionState
DATASET_VERSION_STATE_VALIDATING: DatasetVersionState
DATASET_VERSION_STATE_SEALED: DatasetVersionState
DATASET_VERSION_STATE_QUARANTINED: DatasetVersionState
DATASET_VERSION_STATE_REJECTED: DatasetVersionState

class BatchHeader(_message.Message):
    __slots__ = ("pipeline", "batch_key", "source")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    BATCH_KEY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    batch_key: str
    source: str
    def __init__(self, pipeline: _Optional[str] = ..., batch_key: _Optional[str] = ..., source: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("id", "pipeline", "batch_key", "source", "state", "received", "accepted", "duplicates", "quarantined", "quarantine_reasons", "splits", "dataset_version", "reason", "created_at", "repeated_call")
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
    def __init__(self, id: _Optional[str] = ..., pipeline: _Optional[str] = ..., batch_key: _Optional[str] = ..., source: _Optional[str] = ..., state: _Optional[_Union[BatchState, str]] = ..., received: _Optional[int] = ..., accepted: _Optional[int] = ..., duplicates: _Optional[int] = ..., quarantined: _Optional[int] = ..., quarantine_reasons: _Optional[_Iterable[_Union[ReasonCount, _Mapping]]] = ..., splits: _Optional[_Union[_common_pb2.SplitCounts, _Mapping]] = ..., dataset_version: _Optional[int] = ..., reason: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., repeated_call: _Optional[bool] = ...) -> None: ...

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
    __slots__ = ("pipeline", "version", "state", "digest", "splits", "new_rows", "batches", "manifest_uri", "statistics", "parent", "sealed_at")
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
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ..., state: _Optional[_Union[DatasetVersionState, str]] = ..., digest: _Optional[str] = ..., splits: _Optional[_Union[_common_pb2.SplitCounts, _Mapping]] = ..., new_rows: _Optional[int] = ..., batches: _Optional[_Iterable[str]] = ..., manifest_uri: _Optional[str] = ..., statistics: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., parent: _Optional[int] = ..., sealed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("pipeline", "version")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    version: int
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

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
