from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class BuildDatasetVersion(_message.Message):
    __slots__ = ("pipeline",)
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    def __init__(self, pipeline: _Optional[str] = ...) -> None: ...

class HoldBatches(_message.Message):
    __slots__ = ("pipeline", "batches", "reason", "report")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    batches: _containers.RepeatedScalarFieldContainer[str]
    reason: str
    report: str
    def __init__(self, pipeline: _Optional[str] = ..., batches: _Optional[_Iterable[str]] = ..., reason: _Optional[str] = ..., report: _Optional[str] = ...) -> None: ...

class RunImport(_message.Message):
    __slots__ = ("import_id",)
    IMPORT_ID_FIELD_NUMBER: _ClassVar[int]
    import_id: str
    def __init__(self, import_id: _Optional[str] = ...) -> None: ...
