"""Where the journal is kept: in an SQLite file, or in PostgreSQL."""

from transport.journal.making import default_path, make_bodies, make_database, make_journal, make_store, retention

__all__ = ["default_path", "make_bodies", "make_database", "make_journal", "make_store", "retention"]
