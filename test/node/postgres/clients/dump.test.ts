/** pg_dump | pg_restore through the gateway: the restored database dumps to the same text as the one restored directly. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findProgram } from "../../../support/programs.ts";
import { startBoth, type Both } from "./both.ts";

const [pgDump, pgRestore] = [findProgram("pg_dump"), findProgram("pg_restore")];

describe.skipIf(pgDump === undefined || pgRestore === undefined)("pg_dump and pg_restore", () => {
  let both: Both;
  beforeAll(async () => {
    both = await startBoth();
    await both.prepare(`
      create schema shop;
      create type shop.state as enum ('open', 'paid');
      create table shop.customers (id int generated always as identity primary key, name text not null, born date, notes jsonb default '{}', photo bytea);
      create table shop.orders (id bigserial primary key, customer int not null references shop.customers on delete cascade, state shop.state not null default 'open', total numeric(12, 2) check (total >= 0), tags text[]);
      create table shop.log (at timestamptz not null, line text) partition by range (at);
      create table shop.log_2026 partition of shop.log for values from ('2026-01-01') to ('2027-01-01');
      create index on shop.orders (state) where state = 'open';
      create index on shop.customers (lower(name));
      create view shop.open_orders as select o.id, c.name from shop.orders o join shop.customers c on c.id = o.customer where state = 'open';
      create materialized view shop.totals as select customer, sum(total) as total from shop.orders group by customer;
      create function shop.touch() returns trigger language plpgsql as $f$ begin new.tags := coalesce(new.tags, '{}'); return new; end $f$;
      create trigger touch before insert on shop.orders for each row execute function shop.touch();
      alter table shop.customers enable row level security;
      create policy all_rows on shop.customers using (true);
      comment on table shop.orders is 'what people ordered; with '' quotes and
lines';
      insert into shop.customers (name, born, photo) select 'Næme ' || i || E'\\t\\n\\\\', date '1990-01-01' + i, decode(md5(i::text), 'hex') from generate_series(1, 300) i;
      insert into shop.orders (customer, total, tags) select 1 + i % 300, i * 1.5, array['x', null, 'a,b"c'] from generate_series(1, 2000) i;
      insert into shop.log select timestamptz '2026-02-03' + i * interval '1 hour', repeat('line ', i % 40) from generate_series(1, 500) i;
      refresh materialized view shop.totals;
    `);
  }, 60_000);
  afterAll(async () => both.stop());

  /** Tokens that pg_dump makes up for each run (since CVE-2025-8714) are not part of the text. */
  const text = (dump: string): string => dump.replaceAll(/^\\(un)?restrict .*$/gm, "");

  test("plain text: the same, byte for byte", async () => {
    const { direct, through } = await both.run(pgDump ?? "", ["--no-owner"]);
    expect(through.stderr).toBe("");
    expect(text(through.stdout)).toBe(text(direct.stdout));
    expect(direct.stdout).toContain("CREATE MATERIALIZED VIEW");
  });

  test("inserts instead of COPY; only the schema; one table", async () => {
    for (const args of [
      ["--inserts", "-t", "shop.customers"],
      ["--schema-only"],
      ["--column-inserts", "--rows-per-insert=50", "-t", "shop.orders"],
    ]) {
      const { direct, through } = await both.run(pgDump ?? "", args);
      expect(through.stderr).toBe("");
      expect(text(through.stdout)).toBe(text(direct.stdout));
    }
  });

  test.each([["-Fc"], ["-Fd"], ["-Ft"]])("%s, then pg_restore --clean, leaves the same database", async (format) => {
    const directory = mkdtempSync(join(tmpdir(), "sallyport-dump-"));
    const file = join(directory, "dump");
    const before = await both.run(pgDump ?? "", ["--no-owner"]);
    for (const way of ["direct", "through"] as const) {
      const one = join(file + way);
      const dumped = await both.runOn(way, pgDump ?? "", [format, "-f", one]);
      expect(dumped).toMatchObject({ code: 0, stderr: "" });
      const restored = await both.runOn(way, pgRestore ?? "", [
        "--clean",
        "--if-exists",
        "--no-owner",
        "-d",
        both.environment(way)["PGDATABASE"] ?? "",
        one,
      ]);
      expect(restored).toMatchObject({ code: 0, stderr: "" });
    }
    const after = await both.run(pgDump ?? "", ["--no-owner"]);
    expect(text(after.through.stdout)).toBe(text(before.through.stdout));
    expect(text(after.through.stdout)).toBe(text(after.direct.stdout));
  });

  test("parallel: pg_dump -j and pg_restore -j", async () => {
    const directory = mkdtempSync(join(tmpdir(), "sallyport-dump-"));
    const file = join(directory, "parallel");
    const dumped = await both.runOn("through", pgDump ?? "", ["-Fd", "-j", "2", "-f", file]);
    expect(dumped).toMatchObject({ code: 0, stderr: "" });
    const restored = await both.runOn("through", pgRestore ?? "", [
      "-j",
      "2",
      "--clean",
      "--if-exists",
      "--no-owner",
      "-d",
      "through",
      file,
    ]);
    expect(restored).toMatchObject({ code: 0, stderr: "" });
    const after = await both.run(pgDump ?? "", ["--no-owner"]);
    expect(text(after.through.stdout)).toBe(text(after.direct.stdout));
  });
});
