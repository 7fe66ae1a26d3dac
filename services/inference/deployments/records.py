"""The table `deployments`: what this server holds, for operators and for control."""

from datetime import timedelta

from sqlalchemy import delete, select, update

from services.inference.deployments.deployment import DeploymentView
from shared.storage.database import Database, clock
from shared.storage.tables import Deployment

STALE = timedelta(minutes=1)


class DeploymentRecords:
    """Writes the rows of one server. They say what is true now: an unloaded version's row is deleted."""

    def __init__(self, database: Database, server: str) -> None:
        self.server = server
        self._database = database

    def write(self, views: list[DeploymentView]) -> None:
        """Make the table say exactly this, and beat the heart."""
        with self._database.write() as session:
            now = clock(session)
            rows = {
                (row.model, row.version): row
                for row in session.scalars(select(Deployment).where(Deployment.server == self.server))
            }
            for one in views:
                row = rows.pop((one.key.model, one.key.version), None)
                if row is None:
                    row = Deployment(server=self.server, model=one.key.model, version=one.key.version)
                    session.add(row)
                row.aliases, row.state, row.error = list(one.aliases), str(one.state), one.error
                row.swap_seconds, row.ready_at, row.heartbeat_at = one.swap_seconds, one.ready_at, now
            for row in rows.values():
                session.delete(row)

    def beat(self) -> None:
        with self._database.write() as session:
            session.execute(
                update(Deployment).where(Deployment.server == self.server).values(heartbeat_at=clock(session))
            )

    def remove(self, stale: bool = False) -> None:
        """Take this server's rows out; with `stale` those of servers that have been silent for a minute."""
        with self._database.write() as session:
            whose = Deployment.heartbeat_at < clock(session) - STALE if stale else Deployment.server == self.server
            session.execute(delete(Deployment).where(whose))
