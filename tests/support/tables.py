"""Every table, in a database that has none."""

from shared.storage.database import Database
from shared.storage.tables import Base


def create_tables(url: str) -> None:
    database = Database(url)
    Base.metadata.create_all(database.engine)
    database.close()
