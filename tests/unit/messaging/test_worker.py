"""What a worker must be given."""

import pytest

from shared.contracts.routes import BUILD_DATASET_VERSION, HOLD_BATCHES, RUN_IMPORT
from shared.messaging.worker import Worker
from shared.storage.database import Database
from tests.support.messaging import do_nothing, messaging_settings

SETTINGS = messaging_settings("redis://127.0.0.1:1/0")


def test_a_queue_whose_route_has_no_handler_is_refused(database: Database) -> None:
    with pytest.raises(AssertionError, match="has no handler"):
        Worker(SETTINGS, database, {HOLD_BATCHES: do_nothing}, ["ingestion"])


def test_a_queue_that_no_route_leads_to_is_refused(database: Database) -> None:
    with pytest.raises(AssertionError, match="no route leads to ingestoin"):
        Worker(SETTINGS, database, {HOLD_BATCHES: do_nothing}, ["ingestoin"])


def test_a_worker_has_a_celery_task_for_each_route_of_its_queues(database: Database) -> None:
    routes = (HOLD_BATCHES, BUILD_DATASET_VERSION, RUN_IMPORT)
    worker = Worker(SETTINGS, database, dict.fromkeys(routes, do_nothing), ["ingestion"])
    ours = {name for name in worker._app.tasks if not name.startswith("celery.")}
    assert ours == {"ingestion.hold_batches", "ingestion.build_dataset_version", "ingestion.run_import"}
