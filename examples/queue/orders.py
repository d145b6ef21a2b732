"""What web and worker share: the queue, the orders in it, and the slow work they stand for."""

from __future__ import annotations

import cmath
import hashlib
import math
import os
import sqlite3
import struct
import sys
import time
import zlib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from huey import SqliteHuey

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
DATABASE = os.environ.get("QUEUE_DB", str(HERE / "queue.db"))
DYNO = os.environ.get("DYNO", Path(sys.argv[0]).stem)  # web.1, worker.2 … under procman

WIDTH, SMALLEST, LARGEST = 480, 16, 960  # pixels; the height is five eighths of it
STEPS = 300  # more are sharper and slower

TABLE = """
create table if not exists orders (
  id integer primary key,
  words text not null,
  width integer not null,
  state text not null default 'waiting',  -- waiting → painting → done
  percent integer not null default 0,
  painter text,                           -- the dyno that has it, or had it
  seconds real,
  picture blob
)"""
COLUMNS = "id, words, width, state, percent, painter, seconds"

huey = SqliteHuey("orders", filename=DATABASE)


def run(sql: str, *values: object) -> tuple[list[dict[str, object]], int]:
    """The rows that one statement gives, and how many it changed."""
    with closing(sqlite3.connect(DATABASE, timeout=10)) as connection, connection:
        connection.row_factory = sqlite3.Row
        cursor = connection.execute(sql, values)
        return [dict(row) for row in cursor.fetchall()], cursor.rowcount


run(TABLE)


def place(words: str, width: int) -> dict[str, object]:
    """Note an order and queue its work: takes milliseconds, however slow the work is."""
    sql = f"insert into orders (words, width) values (?, ?) returning {COLUMNS}"
    order = run(sql, words, width)[0][0]
    paint(order["id"])
    return order


def find(number: int) -> dict[str, object] | None:
    rows = run(f"select {COLUMNS} from orders where id = ?", number)[0]
    return rows[0] if rows else None


def latest(limit: int = 12) -> list[dict[str, object]]:
    return run(f"select {COLUMNS} from orders order by id desc limit ?", limit)[0]


def picture(number: int) -> bytes | None:
    rows = run("select picture from orders where id = ? and state = 'done'", number)[0]
    return rows[0]["picture"] if rows else None


def waiting() -> int:
    return run("select count(*) as number from orders where state != 'done'")[0][0]["number"]


def put_back(painter: str) -> int:
    """Queue again what `painter` had in hand when it was stopped or died; how many there were."""
    sql = """update orders set state = 'waiting', percent = 0, painter = null
             where state = 'painting' and painter = ? returning id"""
    orders = run(sql, painter)[0]
    for order in orders:
        paint(order["id"])
    return len(orders)


@huey.task()
def paint(number: int) -> None:
    """The slow work. Called by the web, it is only queued; the worker is where it runs."""
    sql = "update orders set state = 'painting', painter = ? where id = ? and state = 'waiting'"
    if not run(sql, DYNO, number)[1]:
        return  # put back and queued twice: somebody has it
    order = find(number)
    began = time.monotonic()
    print(f"order {number}: painting {order['words']!r}", flush=True)
    rows = []
    height = order["width"] * 5 // 8
    for y, row in enumerate(julia(order["words"], order["width"], height)):
        rows.append(row)
        if y % 8 == 0:
            percent = 100 * y // height
            sql = "update orders set percent = ? where id = ? and painter = ?"
            run(sql, percent, number, DYNO)
    seconds = round(time.monotonic() - began, 2)
    sql = """update orders set state = 'done', percent = 100, seconds = ?, picture = ?
             where id = ? and painter = ? and state = 'painting'"""
    run(sql, seconds, png(rows, order["width"]), number, DYNO)
    print(f"order {number}: done in {seconds} s", flush=True)


def julia(words: str, width: int, height: int) -> Iterator[bytes]:
    """The rows of a Julia set, RGB: the words choose its shape and its colours."""
    digest = hashlib.sha256(words.encode()).digest()
    turn = cmath.exp(1j * math.tau * (0.08 + 0.84 * digest[0] / 256))
    c = (turn / 2 - turn * turn / 4) * (1.02 + 0.03 * digest[1] / 256)  # just off the cardioid
    hue = digest[2] / 256
    for y in range(height):
        row = bytearray()
        for x in range(width):
            z = complex((x / width - 0.5) * 3.2, (y / height - 0.5) * 2.0)
            step = 0
            while step < STEPS and z.real * z.real + z.imag * z.imag < 100:
                z = z * z + c
                step += 1
            smooth = step - math.log2(math.log(abs(z))) if step < STEPS else STEPS
            t = math.sqrt(max(0.0, smooth) / STEPS)
            light = min(1.0, 0.12 + 1.6 * t)
            for shift in (0.0, 0.11, 0.24):
                wave = 0.5 + 0.5 * math.cos(math.tau * (1.7 * t + hue + shift))
                row.append(int(255 * light * wave))
        yield bytes(row)


def png(rows: list[bytes], width: int) -> bytes:
    """A picture file of RGB rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, len(rows), 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
