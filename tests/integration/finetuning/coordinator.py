"""A control process that leads searches and nothing else, until it is killed. Its argument is the database's URL."""

import os
import sys
from threading import Event

from services.control.leader import LeaderLoop, Part
from services.control.leadership import Leadership
from services.control.searching import Searcher
from shared.storage.database import Database

LEASE_SECONDS = 1.0
"""So that the next one need not wait long for a lease that nobody gave back."""


def main(url: str) -> None:
    database = Database(url)
    leadership = Leadership(database, f"coordinator-{os.getpid()}", LEASE_SECONDS)
    LeaderLoop(leadership, [Part("searches", 0.05, Searcher(database, leadership).step)]).start()
    Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
