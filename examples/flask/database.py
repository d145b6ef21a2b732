"""Where the notes are, and which migrations they have seen."""

import os
import sqlite3
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILE = os.environ.get("NOTES_DB", str(HERE / "notes.db"))
MIGRATIONS = sorted((HERE / "migrations").glob("*.sql"))


def connect() -> sqlite3.Connection:
    return sqlite3.connect(FILE, timeout=10)


def version(database: sqlite3.Connection) -> int:
    """How many migrations the database has seen: SQLite keeps a number for that."""
    return database.execute("pragma user_version").fetchone()[0]
