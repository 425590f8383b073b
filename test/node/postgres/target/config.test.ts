/** The target's keys in agent.yaml: safe defaults, and clear words for what is wrong. */
import { describe, expect, test } from "vitest";
import { parseAddress, PostgresTargetConfig } from "../../../../tunnel-agent/protocols/postgres/config.ts";
import { CancelKeys } from "../../../../tunnel-agent/protocols/postgres/keys.ts";
import { parseSearchPath } from "../../../../tunnel-agent/protocols/postgres/session/search-path.ts";
import { withoutLiterals } from "../../../../tunnel-agent/protocols/postgres/session/literals.ts";

const entry = { address: "db.internal:5432", database: "shop", user: "app", password: "env:SHOP_PASSWORD" };

test("defaults: verified TLS, pinned search_path, SCRAM by the presence of a password", () => {
  expect(PostgresTargetConfig.parse(entry)).toMatchObject({
    tls: "verify-full",
    search_path: ["public"],
    max_protocol: "3.2",
    limits: { statement_bytes: 1_048_576, row_bytes: 67_108_864, statement_s: 3600 },
  });
});

test.each([
  ["plaintext over the network", { ...entry, tls: "disable" }, /allow_plaintext/],
  ["plaintext to a name that only looks local", { ...entry, address: "127.evil.example", tls: "disable" }, /allow_plaintext/],
  ["TLS over a unix socket", { ...entry, address: "unix:/run/postgresql/.s.PGSQL.5432" }, /unix socket/],
  ["a method that needs a password", { address: "db", database: "d", user: "u", auth: ["md5"] }, /need a password/],
  ["a password written out", { ...entry, password: "hunter2" }, /reference/],
  ["an unknown key", { ...entry, sslmode: "prefer" }, /sslmode/],
  ["an address that is none", { ...entry, address: "postgres://db/shop" }, /host:port/],
  ["a second login that is the first", { ...entry, classified_login: { user: "app", password: "env:OTHER" } }, /another login/],
  ["a second login with a key it has not", { ...entry, classified_login: { user: "app2", database: "x" } }, /database/],
  ["a limit of zero", { ...entry, limits: { row_bytes: 0 } }, /row_bytes|>0|positive|small/i],
])("%s is refused", (_what, config, why) => {
  const parsed = PostgresTargetConfig.safeParse(config);
  expect(parsed.success).toBe(false);
  expect(JSON.stringify(parsed.error?.issues)).toMatch(why);
  expect(JSON.stringify(parsed.error?.issues)).not.toContain("hunter2");
});

test("plaintext is taken on loopback and where it is asked for by name", () => {
  for (const config of [
    { ...entry, address: "127.0.0.1", tls: "disable" },
    { ...entry, tls: "disable", allow_plaintext: true },
    { ...entry, address: "unix:/run/pg", tls: "disable" },
  ]) {
    expect(PostgresTargetConfig.safeParse(config).success).toBe(true);
  }
});

test.each([
  ["db", { kind: "tcp", host: "db", port: 5432 }],
  ["db.internal:6000", { kind: "tcp", host: "db.internal", port: 6000 }],
  ["[::1]:6000", { kind: "tcp", host: "::1", port: 6000 }],
  ["unix:/run/pg/.s.PGSQL.5432", { kind: "unix", path: "/run/pg/.s.PGSQL.5432" }],
  ["db:0", null],
  ["db:99999", null],
  ["[db]:1", null],
  ["unix:relative", null],
  ["db shop", null],
])("address %j", (text, address) => {
  expect(parseAddress(text)).toEqual(address);
});

describe("PG-11 cancel keys", () => {
  test("find a connection only in their own session, and only exactly", () => {
    const keys = new CancelKeys();
    const cancelled: string[] = [];
    const a = keys.issue("session a", 0, () => cancelled.push("a"));
    const b = keys.issue("session b", 2, () => cancelled.push("b"));
    expect([a.key.length, b.key.length]).toEqual([4, 32]);
    expect(keys.cancel("session b", a.pid, a.key)).toBe(false);
    expect(keys.cancel("session a", a.pid + 1, a.key)).toBe(false);
    expect(keys.cancel("session a", a.pid, a.key.subarray(0, 3))).toBe(false);
    expect(keys.cancel("session a", a.pid, Buffer.alloc(4, 1))).toBe(false);
    expect(cancelled).toEqual([]);
    expect(keys.cancel("session a", a.pid, a.key)).toBe(true);
    expect(keys.cancel("session b", b.pid, b.key)).toBe(true);
    a.release();
    expect(keys.cancel("session a", a.pid, a.key)).toBe(false);
    expect(cancelled).toEqual(["a", "b"]);
  });
});

test.each([
  ["public", ["public"]],
  ['"$user", public', ["$user", "public"]],
  ['"a ""b""", C', ['a "b"', "c"]],
  ['""', []],
  ["", []],
  ["a b", null],
  ['"open', null],
  ["a,", null],
])("search_path %j as the server reports it", (value, schemas) => {
  expect(parseSearchPath(value)).toEqual(schemas);
});

test.each([
  ["alter role me password 'secret", "alter role me password '…'"],
  ["alter role me password E'a\\'secret'", "alter role me password E'…'"],
  ["do $x$ secret", "do '…'"],
  ["selekt 1", "selekt 1"],
])("GW-23 of text that does not parse, nothing after its first string is recorded: %j", (sql, kept) => {
  expect(withoutLiterals(sql)).toBe(kept);
});
