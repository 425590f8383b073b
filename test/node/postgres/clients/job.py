"""What a Python job does with psycopg 3; prints everything that it sees. Run directly and through the gateway."""

import psycopg
from psycopg.rows import dict_row


def show(what, value):
    print(what, repr(value), flush=True)


with psycopg.connect("", autocommit=False) as conn:
    show("encoding", conn.info.encoding)
    cur = conn.cursor()
    cur.execute("create table py (id int primary key, t text, n numeric, at timestamptz, raw bytea, tags text[], j jsonb)")
    cur.executemany(
        "insert into py values (%s, %s, %s, %s, %s, %s, %s) returning id",
        [(i, f"row {i}", i / 4, "2026-01-02 03:04:05+00", bytes([0, i, 255]), ["a", None, "b,c"], f'{{"n": {i}}}') for i in range(50)],
        returning=True,
    )
    ids = []
    while True:
        ids.append(cur.fetchone()[0])
        if not cur.nextset():
            break
    show("returned", ids[-1])
    conn.commit()

    for binary in (False, True):
        cur = conn.cursor(binary=binary, row_factory=dict_row)
        show("row", cur.execute("select id, t, n, at at time zone 'UTC' as at, raw, tags, j from py where id = %s", (7,)).fetchone())
    for _ in range(8):
        cur = conn.execute("select t from py where id = %s", (3,), prepare=True)
    show("prepared", cur.fetchall())

    with conn.cursor(name="server_side") as cur:
        cur.itersize = 7
        cur.execute("select id from py order by id")
        show("server cursor", sum(row[0] for row in cur))
    with conn.cursor(name="scrolling", scrollable=True) as cur:
        cur.execute("select id from py order by id")
        cur.scroll(40)
        show("scrolled", cur.fetchmany(3))

    with conn.cursor() as cur:
        with cur.copy("copy py (id, t) from stdin") as copy:
            for i in range(1000, 1100):
                copy.write_row((i, f"copied\t{i}\n\\"))
        with cur.copy("copy (select id, t from py where id >= 1095 order by id) to stdout") as copy:
            show("copied", list(copy.rows()))
        with cur.copy("copy py (id, n) from stdin (format binary)") as copy:
            copy.set_types(["int4", "numeric"])
            copy.write_row((5000, 1))
        show("binary copy", cur.execute("select id, n from py where id = 5000").fetchone())
    conn.commit()

    if psycopg.Pipeline.is_supported():
        with conn.pipeline() as pipeline:
            one = conn.execute("select 1")
            two = conn.execute("select count(*) from py")
            conn.execute("insert into py (id) values (9000)")
            pipeline.sync()
            show("pipeline", (one.fetchone(), two.fetchone()))
        try:
            with conn.pipeline():
                good = conn.execute("select 'first'")
                conn.execute("select 1/0")
                conn.execute("insert into py (id) values (9001)")
        except psycopg.Error as error:
            show("pipeline error", (error.sqlstate, good.fetchone()))
        conn.rollback()
        show("aborted", conn.execute("select count(*) from py where id in (9000, 9001)").fetchone())

    for sql in ("select nothing", "insert into py (id) values (1)", "select 'x'::int", "begin; select 1; select 1/0"):
        try:
            with conn.transaction():
                conn.execute(sql)
        except psycopg.Error as error:
            show("error", (error.sqlstate, error.diag.severity, error.diag.statement_position, error.diag.constraint_name))
    show("status", conn.info.transaction_status.name)

    with conn.transaction():
        conn.execute("update py set t = 'outer' where id = 1")
        try:
            with conn.transaction():
                conn.execute("update py set t = 'inner' where id = 1")
                raise psycopg.Rollback
        except psycopg.Rollback:
            pass
    show("savepoint", conn.execute("select t from py where id = 1").fetchone())
    notices = []
    conn.add_notice_handler(lambda diag: notices.append((diag.severity, diag.sqlstate, diag.message_primary)))
    conn.execute("drop table if exists not_there")
    show("notices", notices)
    conn.rollback()

with psycopg.connect("", autocommit=True) as conn:
    conn.execute("set statement_timeout = 50")
    try:
        conn.execute("select pg_sleep(30)")
    except psycopg.Error as error:
        show("timeout", error.sqlstate)
    conn.execute("reset statement_timeout")
    show("after", conn.execute("select 1").fetchone())
    show("closed", conn.closed)
