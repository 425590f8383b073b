/**
 * COPY TO STDOUT, masked as it streams: what a real server reads back from it, every split point, and what no server sends.
 */
import { spawnSync } from "node:child_process";
import * as fc from "fast-check";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectTo } from "../../../support/database.ts";
import { availableVersions, startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { findProgram } from "../../../support/programs.ts";
import { createCopyMasker, type CopyMasker, type CopyMaskerOptions } from "../../../../tunnel-agent/protocols/postgres/masking/copy.ts";
import type { ColumnPlan, MaskCounts } from "../../../../tunnel-agent/protocols/postgres/masking/types.ts";

const KEY = Buffer.alloc(32, 5);
const TEXT = 25;
const mask = (typeOid: number, strategy: "redact" | "null" | "zero" | "hash") =>
  ({ class: "email", strategy: { kind: strategy }, paths: [], typeOid, format: 1 }) as const;

type Given = Partial<CopyMaskerOptions> & Pick<CopyMaskerOptions, "format" | "plan">;

function copyMasker(given: Given): CopyMasker {
  const made = createCopyMasker({ header: false, key: KEY, counts: new Map(), maxRow: 64 * 1024, ...given });
  if (!made.ok) throw new Error(made.error);
  return made.value;
}

/** All of it, in pieces cut where it is said. */
function masked(given: Given, data: Buffer, cuts: readonly number[] = []): Buffer {
  const masker = copyMasker(given);
  const out: Buffer[] = [];
  const bounds = [0, ...cuts, data.length];
  for (let i = 1; i < bounds.length; i++) {
    const piece = Buffer.from(data.subarray(bounds[i - 1], bounds[i]));
    const rows = masker.push(piece);
    if (!rows.ok) throw new Error(rows.error);
    out.push(...rows.value.map((row) => Buffer.from(row)));
    // What was pushed is the caller's again.
    piece.fill(0xff);
  }
  const end = masker.end();
  if (!end.ok) throw new Error(end.error);
  return Buffer.concat(out);
}

const EMAIL: ColumnPlan = [null, mask(TEXT, "redact")];

describe("text format", () => {
  it("has its fields masked, its NULLs kept, and everything else as it came", () => {
    const counts: MaskCounts = new Map();
    const data = "1\tanna@example.org\n2\t\\N\n3\ta\\tb\\\\\\n\n4\\t\t\n";
    expect(masked({ format: "text", plan: EMAIL, counts }, Buffer.from(data)).toString()).toBe(
      "1\t[email]\n2\t\\N\n3\t[email]\n4\\t\t[email]\n",
    );
    expect(counts).toEqual(new Map([["email", 3]]));
  });

  it("knows delimiter and null string, and escapes what it puts", () => {
    const plan: ColumnPlan = [mask(TEXT, "null"), { ...mask(TEXT, "redact"), class: "a|b\\c" }, null];
    const data = "secret|a\\|b|x\n\\N|none|y\n";
    expect(masked({ format: "text", plan, delimiter: "|", nullString: "none" }, Buffer.from(data)).toString()).toBe(
      "none|[a\\|b\\\\c]|x\nnone|none|y\n",
    );
  });

  it("lets the names of a header pass", () => {
    const data = Buffer.from("id\temail\n1\tanna@example.org\n");
    expect(masked({ format: "text", plan: EMAIL, header: true }, data).toString()).toBe("id\temail\n1\t[email]\n");
    // Without the option the first row is a row.
    expect(masked({ format: "text", plan: EMAIL }, data).toString()).toBe("id\t[email]\n1\t[email]\n");
  });
});

describe("CSV format", () => {
  it("has its fields masked across quotes, delimiters and newlines", () => {
    const data = '1,anna@example.org\n2,"a,b ""c""\nd"\n3,\n4,""\n';
    expect(masked({ format: "csv", plan: EMAIL }, Buffer.from(data)).toString()).toBe('1,[email]\n2,"[email]"\n3,\n4,"[email]"\n');
  });

  it("is not led astray by an escape that is no quote", () => {
    const data = "'a\\',b\\\\',secret\n'x','y'\n";
    expect(masked({ format: "csv", plan: EMAIL, quote: "'", escape: "\\" }, Buffer.from(data)).toString()).toBe(
      "'a\\',b\\\\',[email]\n'x','[email]'\n",
    );
  });

  it("quotes a masked value that would be the null string", () => {
    const plan: ColumnPlan = [null, mask(TEXT, "zero")];
    expect(masked({ format: "csv", plan }, Buffer.from("1,x\n")).toString()).toBe('1,""\n');
    expect(masked({ format: "csv", plan: EMAIL, nullString: "[email]" }, Buffer.from("1,x\n2,[email]\n")).toString()).toBe(
      '1,"[email]"\n2,[email]\n',
    );
  });
});

describe("what no server sends", () => {
  it.each([
    ["a row with a field too few", "text", "1\n", "columns"],
    ["a row with a field too many", "text", "1\tb\tc\n", "columns"],
    ["a delimiter that is escaped", "text", "1\\\tb\n", "columns"],
    ["a header of other columns", "csv", "a,b,c\n", "columns"],
    ["a row longer than the limit", "text", `1\t${"x".repeat(200)}\n`, "row-too-long"],
    ["a quote that is never closed", "csv", `1,"${"x\n".repeat(100)}`, "row-too-long"],
  ] as const)("%s is a failure", (_, format, data, failure) => {
    const masker = copyMasker({ format, plan: EMAIL, maxRow: 100, header: format === "csv" && data.startsWith("a") });
    expect(masker.push(Buffer.from(data))).toEqual({ ok: false, error: failure });
  });

  it("an end inside of a row is a failure", () => {
    const masker = copyMasker({ format: "text", plan: EMAIL });
    expect(masker.push(Buffer.from("1\tanna"))).toEqual({ ok: true, value: [] });
    expect(masker.end()).toEqual({ ok: false, error: "cut-off" });
  });

  it.each([{ delimiter: "" }, { delimiter: "ab" }, { quote: "é" }, { escape: "" }])(
    "options of more or less than a byte are refused: %j",
    (odd) => {
      expect(createCopyMasker({ format: "csv", plan: EMAIL, header: false, key: KEY, counts: new Map(), maxRow: 100, ...odd })).toEqual({
        ok: false,
        error: "options",
      });
    },
  );
});

const TEXT_DATA = Buffer.from("1\tanna@example.org\n2\t\\N\n3\té\\t\\\\\\n\n4\\\t\tx\n");
const CSV_DATA = Buffer.from('1,anna@example.org\n2,"a,b ""é""\nd"\n"3,",\n4,""\n');

describe("split anywhere", () => {
  it.each([
    { format: "text", data: TEXT_DATA },
    { format: "csv", data: CSV_DATA },
    { format: "csv", data: Buffer.from('1,anna@example.org\n2,"a,b \\"é\\\\\\"\nd"\n"3,",\n4,""\n'), escape: "\\" },
  ] as const)("the rows are the same: $format", ({ data, ...format }) => {
    const given = { plan: EMAIL, ...format };
    const whole = masked(given, data);
    expect(whole.toString()).not.toContain("anna");
    for (let cut = 0; cut <= data.length; cut++) expect(masked(given, data, [cut])).toEqual(whole);
    expect(masked(given, data, Array.from(data.keys()))).toEqual(whole);
  });

  it("messages put are the rows, one message each", () => {
    const masker = copyMasker({ format: "text", plan: EMAIL });
    for (const byte of TEXT_DATA) masker.append(Buffer.of(byte));
    const taken = masker.take() ?? Buffer.alloc(0);
    expect(masker.take()).toBeNull();
    const rows: Buffer[] = [];
    for (let at = 0; at < taken.length; at += 1 + taken.readInt32BE(at + 1)) {
      expect(taken[at]).toBe(0x64);
      rows.push(taken.subarray(at + 5, at + 1 + taken.readInt32BE(at + 1)));
    }
    expect(rows.length).toBe(4);
    expect(Buffer.concat(rows)).toEqual(masked({ format: "text", plan: EMAIL }, TEXT_DATA));
  });
});

const value = fc.option(
  fc.oneof(
    fc.constantFrom(
      "",
      "anna@example.org",
      "\\N",
      "nil",
      "NULL",
      "\\.",
      "a,b;c|d",
      'say "hi"',
      "it's",
      "a\\",
      "\t\n\r\v\f\b",
      "\\x41",
      " é 😀 ",
    ),
    fc.string({ maxLength: 20 }).map((text) => text.replaceAll("\0", "")),
  ),
);

const psql = findProgram("psql");
const VARIANTS = [
  { format: "text" },
  { format: "text", delimiter: "|", nullString: "nil" },
  { format: "text", header: true, nullString: "" },
  { format: "csv" },
  { format: "csv", header: true, delimiter: ";", quote: "'", escape: "\\" },
  { format: "csv", nullString: "NULL", force: "FORCE_QUOTE *" },
] as const;

describe.skipIf(psql === undefined).each(availableVersions())("PostgreSQL %i", (version) => {
  let postgres: PostgresServer;
  let client: pg.Client;
  beforeAll(async () => {
    postgres = await startPostgres({ version });
    client = await connectTo(postgres, "postgres");
    await client.query("CREATE TABLE people (n int, email text, note text, age int); CREATE TABLE back (LIKE people)");
  }, 60_000);
  afterAll(async () => {
    await client.end();
    await postgres.stop();
  });

  const run = (sql: string, input?: Buffer): Buffer => {
    const { user, password } = postgres.superuser;
    const env = {
      PATH: "",
      PGHOST: postgres.host,
      PGPORT: String(postgres.port),
      PGUSER: user,
      PGPASSWORD: password,
      PGDATABASE: "postgres",
    };
    const { stdout, stderr, status } = spawnSync(psql ?? "", ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql], { env, input });
    if (status !== 0) throw new Error(stderr.toString());
    return stdout;
  };

  it.each(VARIANTS)(
    "reads back the masked rows: %j",
    async (variant) => {
      const { format, delimiter, nullString, quote, escape, header = false } = variant as Partial<CopyMaskerOptions>;
      const options = [
        `FORMAT ${variant.format}`,
        ...Object.entries({ DELIMITER: delimiter, NULL: nullString, QUOTE: quote, ESCAPE: escape }).flatMap(([name, value]) =>
          value === undefined ? [] : [`${name} ${name === "ESCAPE" ? "E'\\\\'" : `'${value.replaceAll("'", "''")}'`}`],
        ),
        // Text with a header came with PostgreSQL 15.
        ...(header ? ["HEADER"] : []),
      ].join(", ");
      const force = "force" in variant ? `, ${variant.force}` : "";
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.record({ email: value, note: value, age: fc.option(fc.integer({ min: -40_000, max: 40_000 })) }), { maxLength: 20 }),
          async (rows) => {
            await client.query("TRUNCATE people, back");
            await client.query(
              "INSERT INTO people SELECT n - 1, email, note, age FROM unnest($1::text[], $2::text[], $3::int[]) WITH ORDINALITY AS t (email, note, age, n)",
              [rows.map((row) => row.email), rows.map((row) => row.note), rows.map((row) => row.age)],
            );
            const data = run(`COPY (SELECT * FROM people ORDER BY n) TO STDOUT WITH (${options}${force})`);
            const plan: ColumnPlan = [null, mask(TEXT, "redact"), null, mask(23, "zero")];
            const out = masked({ format: format ?? "text", plan, delimiter, nullString, quote, escape, header }, data, [data.length >> 1]);
            run(`COPY back FROM STDIN WITH (${options})`, out);
            const back = await client.query("SELECT n, email, note, age FROM back ORDER BY n");
            // In the text format a NULL and a text that is the null string are one.
            const read = (text: string | null): string | null => (format === "text" && text === nullString ? null : text);
            expect(back.rows).toEqual(
              rows.map(({ email, note, age }, n) => ({
                n,
                email: read(email) === null ? null : "[email]",
                note: read(note),
                age: age === null ? null : 0,
              })),
            );
          },
        ),
        { numRuns: 8 },
      );
    },
    60_000,
  );
});
