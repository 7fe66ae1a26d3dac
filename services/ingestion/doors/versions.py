"""The RPCs of dataset versions: listing, reading, comparing, exporting, and deleting rows."""

from collections.abc import Collection, Iterator
from typing import Any

import grpc

from services.ingestion.queries.catalogue import Exported, VersionEntry
from services.ingestion.queries.diffing import Difference
from services.ingestion.rooms import Rooms
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.rpc import callers
from shared.rpc.paging import next_token, page
from shared.storage.tables import Deletion

OPERATOR = "operator"
LISTED = ("labels", "lengths", "sources", "licences")


class VersionsDoor:
    """ListDatasetVersions, GetDatasetVersion, ReadRows, DiffDatasetVersions, ExportDatasetVersion, DeleteRows."""

    _rooms: Rooms

    def ListDatasetVersions(
        self, request: pb.ListDatasetVersionsRequest, context: grpc.ServicerContext
    ) -> pb.ListDatasetVersionsResponse:
        limit, offset = page(request.page_size, request.page_token)
        found = self._rooms.catalogue.versions(request.pipeline, limit + 1, offset)
        token = next_token(limit, offset, len(found))
        versions = [version_message(entry, LISTED) for entry in found[:limit]]
        return pb.ListDatasetVersionsResponse(versions=versions, next_page_token=token)

    def GetDatasetVersion(
        self, request: pb.GetDatasetVersionRequest, context: grpc.ServicerContext
    ) -> pb.DatasetVersion:
        if request.languages:
            self._rooms.languages.ensure(request.pipeline, request.version)
        return version_message(self._rooms.catalogue.version(request.pipeline, request.version))

    def ReadRows(self, request: pb.ReadRowsRequest, context: grpc.ServicerContext) -> Iterator[pb.Row]:
        rows = self._rooms.catalogue.rows(
            request.pipeline, request.version, request.split, request.batches, request.limit
        )
        yield from map(row_message, rows)

    def DiffDatasetVersions(
        self, request: pb.DiffDatasetVersionsRequest, context: grpc.ServicerContext
    ) -> pb.DatasetDiff:
        return difference_message(self._rooms.differ.diff(request.pipeline, request.first, request.second))

    def ExportDatasetVersion(
        self, request: pb.ExportDatasetVersionRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ExportChunk]:
        yield from map(export_message, self._rooms.catalogue.export(request.pipeline, request.version, request.have))

    def DeleteRows(self, request: pb.DeleteRowsRequest, context: grpc.ServicerContext) -> pb.Deletion:
        actor = callers.tenant() or OPERATOR
        deletion, unknown = self._rooms.deleter.delete(
            request.pipeline, list(request.rows), list(request.sources), request.reason, actor
        )
        return deletion_message(deletion, unknown)


def version_message(entry: VersionEntry, leave_out: Collection[str] = ()) -> pb.DatasetVersion:
    """`leave_out` are statistics that would make a list of versions longer than a message may be."""
    version = entry.version
    message = pb.DatasetVersion(
        pipeline=version.pipeline,
        version=version.version,
        state=f"DATASET_VERSION_STATE_{version.state.upper()}",
        digest=version.digest,
        splits=common_pb2.SplitCounts(train=version.train, validation=version.validation, test=version.test),
        new_rows=version.new_rows,
        batches=entry.batches,
        manifest_uri=version.manifest_uri,
        parent=version.parent or 0,
        merkle_root=version.merkle_root,
        licences=sorted(filter(None, version.statistics.get("licences", {}))),
        leaks=version.leaks,
        reason=version.reason,
    )
    message.statistics.update({name: value for name, value in version.statistics.items() if name not in leave_out})
    if version.sealed_at:
        message.sealed_at.FromDatetime(version.sealed_at)
    return message


def row_message(row: dict[str, Any]) -> pb.Row:
    message = pb.Row(id=row.pop("row_id"), split=row.pop("split"), batch=row.pop("batch"))
    message.fields.update({name: value for name, value in row.items() if value is not None})
    return message


def difference_message(found: Difference) -> pb.DatasetDiff:
    message = pb.DatasetDiff(
        pipeline=found.pipeline,
        first=found.first,
        second=found.second,
        added=found.added,
        removed=found.removed,
        kept=found.kept,
    )
    message.changes.update(found.changes)
    return message


def export_message(found: Exported) -> pb.ExportChunk:
    if found.part:
        return pb.ExportChunk(part=found.part)
    return pb.ExportChunk(manifest=found.manifest) if found.manifest else pb.ExportChunk(data=found.data)


def deletion_message(deletion: Deletion, unknown: list[str]) -> pb.Deletion:
    return pb.Deletion(
        id=deletion.id,
        rows=deletion.rows,
        batches=deletion.batches,
        unknown=unknown,
        dataset_versions=deletion.dataset_versions,
        model_versions=deletion.model_versions,
    )
