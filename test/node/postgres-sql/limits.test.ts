/**
 * Hostile text: too long, too deep, not text at all. Nothing throws, nothing breaks the parser for the next text, and
 * memory does not grow with the number of texts (PG-56).
 */
import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { MAX_AST_DEPTH, MAX_SQL_BYTES, MAX_SQL_EFFECTS, MAX_SQL_TOKENS } from "../../../protocol/limits.ts";
import { loadSqlParser } from "../../../tunnel-agent/protocols/postgres/sql/analyse.ts";
import type { AnalyseSql } from "../../../tunnel-agent/protocols/postgres/sql/types.ts";
import { allCases, written } from "./support.ts";

let analyse: AnalyseSql;
beforeAll(async () => {
  analyse = await loadSqlParser();
});

const reason = (sql: string): string => {
  const result = analyse(sql);
  return result.ok ? "ok" : result.error.reason;
};

/** A parser that was thrown away is back after a turn of the event loop; until then texts are refused. */
async function expectAlive(): Promise<void> {
  await expect.poll(() => written(analyse("SELECT * FROM t"))).toEqual(["pg:select t"]);
}

describe("length", () => {
  it("counts bytes, not characters", () => {
    expect(reason(`SELECT '${"x".repeat(MAX_SQL_BYTES)}'`)).toBe("too-long");
    expect(analyse(`SELECT '${"é".repeat(MAX_SQL_BYTES / 2)}'`)).toEqual({
      ok: false,
      error: { reason: "too-long", bytes: MAX_SQL_BYTES + 9, limit: MAX_SQL_BYTES },
    });
    expect(reason(`SELECT '${"x".repeat(MAX_SQL_BYTES - 9)}'`)).toBe("ok");
  });

  it("counts tokens", () => {
    const many = analyse(`SELECT 1${",1".repeat(MAX_SQL_TOKENS / 2)}`);
    expect(many).toMatchObject({ ok: false, error: { reason: "too-long", tokens: MAX_SQL_TOKENS + 1 } });
  });

  it("bounds the objects of one text, in one statement and in many", () => {
    const tables = Array.from({ length: MAX_SQL_EFFECTS + 1 }, (_, i) => `t${i}`);
    expect(written(analyse(`SELECT 1 FROM ${tables.slice(1).join(", ")}`))).not.toContain("!PG-56");
    expect(written(analyse(`SELECT 1 FROM ${tables.join(", ")}`))).toContain("!PG-56");
    expect(written(analyse(tables.map((table) => `TABLE ${table}`).join("; ")))).toContain("!PG-56");
    expect(written(analyse("TABLE t;".repeat(MAX_SQL_EFFECTS + 1)))).toEqual(["pg:select t"]);
  });

  it("takes long lists of WITH queries and of locked tables in its stride", () => {
    const names = Array.from({ length: 8000 }, (_, i) => `n${i}`);
    expect(written(analyse(`WITH ${names.map((name) => `${name} AS (SELECT 1)`).join(", ")} SELECT 1 FROM ${names.join(", ")}`))).toEqual([
      "pg:session",
    ]);
    const locked = names.slice(0, 2000);
    expect(written(analyse(`SELECT 1 FROM ${locked.join(", ")} FOR UPDATE OF ${locked.join(", ")}`))).toHaveLength(4000);
    const again = " FOR UPDATE OF n0 FOR SHARE".repeat(4000);
    expect(written(analyse(`SELECT 1 FROM ${locked.join(", ")}${again}`))).toHaveLength(4001);
  });

  it("bounds runs of operator characters, which the real lexer reads in quadratic time", () => {
    for (const run of ["+", "+-+", "+/**/", "/*", "+/*", "*/", "=+", "-/*"]) {
      expect(["unparsable", "too-long"]).toContain(reason(`SELECT 1 ${run.repeat(100_000)} 1`));
      expect(reason(`SELECT 1 ${run.repeat(40_000)} 1`)).toBe("unparsable");
    }
    expect(reason(`/${"*".repeat(100_000)}/ SELECT 1`)).toBe("ok");
    expect(reason(`SELECT 1${"/**/".repeat(2000)} + 1`)).toBe("ok");
    expect(reason(`SELECT '${"+".repeat(100_000)}'`)).toBe("ok");
    expect(reason(`SELECT 1 /*${"*".repeat(100_000)}*/`)).toBe("ok");
  });
});

describe("depth", () => {
  const nested: Readonly<Record<string, (n: number) => string>> = {
    "a chain of operators": (n) => `SELECT 1${"+1".repeat(n)}`,
    "a chain of casts": (n) => `SELECT 1${"::int".repeat(n)}`,
    "a chain of set operations": (n) => `SELECT 1${" UNION SELECT 1".repeat(n)}`,
    "a chain of joins": (n) => `SELECT * FROM a${" JOIN b ON true".repeat(n)}`,
    negations: (n) => `SELECT ${"NOT ".repeat(n)}true`,
    calls: (n) => `SELECT ${"abs(".repeat(n)}1${")".repeat(n)}`,
    subqueries: (n) => `SELECT ${"(SELECT ".repeat(n)}1${")".repeat(n)}`,
    arrays: (n) => `SELECT ${"ARRAY[".repeat(n)}1${"]".repeat(n)}`,
    cases: (n) => `SELECT ${"CASE WHEN true THEN ".repeat(n)}1${" END".repeat(n)}`,
    "common tables": (n) => `${"WITH a AS (".repeat(n)}SELECT 1${") SELECT 1".repeat(n)}`,
  };

  it.each(Object.entries(nested))("%s: refused beyond the limit, at any size", async (_name, make) => {
    expect(reason(make(50))).toBe("ok");
    for (const n of [2 * MAX_AST_DEPTH + 2, 3000, 20_000]) expect(["too-deep", "unparsable", "too-long"]).toContain(reason(make(n)));
    await expectAlive();
  });

  it("does not count what is wide", () => {
    expect(reason(`SELECT 1 WHERE true${" AND true".repeat(5000)}`)).toBe("ok");
    expect(reason(`SELECT 1 WHERE 1 IN (1${",1".repeat(20_000)})`)).toBe("ok");
    expect(reason(`INSERT INTO t VALUES (1)${",(1)".repeat(20_000)}`)).toBe("ok");
    expect(reason("SELECT 1;".repeat(5000))).toBe("ok");
    expect(reason(`SELECT ${"(".repeat(2000)}1${")".repeat(2000)}`)).toBe("ok");
  });

  it("survives many exhausted parses in a row", async () => {
    for (let i = 0; i < 8; i++) expect(reason(`SELECT 1${"+1".repeat(30_000)}`)).not.toBe("ok");
    await expectAlive();
  });
});

describe("text that is none", () => {
  it.each(["\ud800", "SELECT '\udc00'", "SELECT 1\0", "\0", "\ufffe", "SELECT '\u{1F600}", "\u202eSELECT 1"])("%j", (sql) => {
    expect(reason(sql)).toBe("unparsable");
  });

  it("gives the position in characters", () => {
    expect(analyse("SELECT '\u{1F600}é' FORM t WHERE")).toMatchObject({ ok: false, error: { position: 18 } });
    expect(analyse("SELECT '\u{1F600}', 1\0")).toMatchObject({ ok: false, error: { position: 14 } });
  });

  it("echoes no literal", () => {
    for (const sql of [
      "ALTER ROLE x PASWORD 'hunter2'",
      "SELECT 'hunter2",
      "SELECT 1 'hunter2'",
      "SELECT 12hunter2",
      "SELECT E'\\u00zzhunter2'",
    ]) {
      const result = analyse(sql);
      expect(result.ok).toBe(false);
      expect(JSON.stringify(result)).not.toContain("hunter2");
    }
  });
});

describe("any text", () => {
  it("never throws, and every statement has effects", async () => {
    const words = fc.constantFrom(
      ..."SELECT FROM t , ( ) 'x' 1 WHERE a = b ; WITH AS INSERT INTO VALUES UPDATE SET DELETE COPY TO STDIN CREATE TABLE ALTER DROP GRANT ON".split(
        " ",
      ),
      ..."BEGIN COMMIT DECLARE c CURSOR FOR EXPLAIN PREPARE EXECUTE DO $$x$$ CALL f() LOCK VACUUM RETURNING * JOIN USING".split(" "),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(words, { maxLength: 14 }).map((list) => list.join(" ")),
          fc.string({ unit: "binary", maxLength: 40 }),
        ),
        (sql) => {
          const result = analyse(sql);
          if (result.ok) for (const statement of result.value.statements) expect(statement.effects.length).toBeGreaterThan(0);
        },
      ),
      { numRuns: 3000 },
    );
    await expectAlive();
  });

  it("does not hold memory back", () => {
    const texts = allCases.map(({ sql }) => sql);
    const round = (): void => {
      for (let i = 0; i < 5; i++) for (const sql of texts) analyse(sql);
    };
    round();
    const before = process.memoryUsage();
    for (let i = 0; i < 4; i++) round();
    const after = process.memoryUsage();
    // 13,000 analyses: a leak of 8 KiB in each would be 100 MiB.
    expect(after.external + after.arrayBuffers - before.external - before.arrayBuffers).toBeLessThan(64 * 1024 * 1024);
    expect(after.rss - before.rss).toBeLessThan(256 * 1024 * 1024);
  });
});
