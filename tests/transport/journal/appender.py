"""A process that appends to an SQLite journal and says on stdout what is committed, until it is killed."""

import sys
from pathlib import Path

from actors.speech.journal.port import Append, Entry, Open, Opened, Written
from transport.journal.sqlite import SqliteDatabase

database = SqliteDatabase(Path(sys.argv[1]))
database.open()
(opened,) = database.commit([Open(sys.argv[2], b"", sys.argv[3].encode())])
assert isinstance(opened, Opened)
seq = 0
while True:
    entries = tuple(Entry(seq + n, 100 * (seq + n - 1), 100 * (seq + n), b"x" * 150) for n in range(1, 4))
    assert database.commit([Append(sys.argv[2], opened.epoch, entries)]) == [Written()]
    seq += 3
    print(seq, flush=True)
