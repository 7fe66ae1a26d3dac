"""The RPCs of imports and of sources that are followed."""

from collections.abc import Iterator

import grpc

from services.ingestion import convert
from services.ingestion.following.desk import SourceView
from services.ingestion.remote.desk import ImportView, Wish
from services.ingestion.remote.uris import shown
from services.ingestion.rooms import Rooms
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.errors import InvalidArgument, Unsupported
from shared.rpc.paging import next_token, page


class ImportsDoor:
    """ImportUri, GetImport, ListImports, WatchImport, CancelImport, ListSources."""

    _rooms: Rooms

    def ImportUri(self, request: pb.ImportUriRequest, context: grpc.ServicerContext) -> pb.Import:
        return import_message(self._rooms.imports.ask(_wish(request)))

    def GetImport(self, request: pb.GetImportRequest, context: grpc.ServicerContext) -> pb.Import:
        return import_message(self._rooms.imports.view(request.id))

    def ListImports(self, request: pb.ListImportsRequest, context: grpc.ServicerContext) -> pb.ListImportsResponse:
        limit, offset = page(request.page_size, request.page_token)
        found = self._rooms.imports.page(request.pipeline, limit + 1, offset)
        token = next_token(limit, offset, len(found))
        return pb.ListImportsResponse(imports=map(import_message, found[:limit]), next_page_token=token)

    def WatchImport(self, request: pb.WatchImportRequest, context: grpc.ServicerContext) -> Iterator[pb.Import]:
        yield from map(import_message, self._rooms.imports.watch(request.id, context.is_active))

    def CancelImport(self, request: pb.CancelImportRequest, context: grpc.ServicerContext) -> pb.Import:
        return import_message(self._rooms.imports.cancel(request.id, request.reason or "cancelled by a caller"))

    def ListSources(self, request: pb.ListSourcesRequest, context: grpc.ServicerContext) -> pb.ListSourcesResponse:
        return pb.ListSourcesResponse(sources=map(source_message, self._rooms.sources.all(request.pipeline)))


def import_message(view: ImportView) -> pb.Import:
    row = view.row
    message = pb.Import(
        id=row.id,
        pipeline=row.pipeline,
        uri=shown(row.uri),
        state=f"IMPORT_STATE_{row.state.upper()}",
        reason=row.reason,
        bytes=row.bytes,
        total_bytes=row.total_bytes,
        rows=row.rows,
        rows_per_second=row.rows_per_second,
        eta_seconds=row.eta_seconds,
        batch=convert.batch_message(view.batch) if view.batch else None,
        source=row.source,
    )
    message.created_at.FromDatetime(row.created_at)
    if row.finished_at:
        message.finished_at.FromDatetime(row.finished_at)
    return message


def source_message(view: SourceView) -> pb.Source:
    message = pb.Source(
        pipeline=view.pipeline,
        name=view.name,
        kind=view.kind,
        uri=view.uri,
        pending=view.pending,
        rows=view.rows,
        error=view.error,
        retrying=view.retrying,
        refused=view.refused,
    )
    if view.seen_at:
        message.seen_at.FromDatetime(view.seen_at)
    if view.next_try_at:
        message.next_try_at.FromDatetime(view.next_try_at)
    return message


def _wish(request: pb.ImportUriRequest) -> Wish:
    header = request.header
    if header.dry_run:
        raise Unsupported("an import has no dry run; send the file itself with dry_run", field="dry_run")
    if header.offset or header.size:
        raise InvalidArgument("offset and size belong to a file that is sent, not to a URI", field="offset")
    return Wish(
        pipeline=header.pipeline,
        uri=request.uri,
        batch_key=header.batch_key,
        source=header.source,
        format=header.format,
        encoding=header.encoding,
        licence=header.licence,
    )
