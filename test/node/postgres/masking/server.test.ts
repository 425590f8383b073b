/**
 * Every type by every strategy in both formats, with real servers: a value as PostgreSQL sends it is masked, and the masked
 * bytes are given back to PostgreSQL as a parameter of the same type in the same format. What it takes has the form of the type.
 */
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectTo } from "../../../support/database.ts";
import { availableVersions, startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { createValueMask } from "../../../../tunnel-agent/protocols/postgres/masking/values/index.ts";
import type { ColumnMask } from "../../../../tunnel-agent/protocols/postgres/masking/types.ts";
import { SAMPLES, STRATEGIES } from "./samples.ts";

const KEY = Buffer.alloc(32, 3);
const FORMATS = [
  { name: "text", format: 0 },
  { name: "binary", format: 1 },
] as const;

/** A value of a type as it is on the wire: what the type's own output or send function makes of it. */
async function onTheWire(client: pg.Client, type: string, literal: string, format: 0 | 1): Promise<{ oid: number; bytes: Buffer }> {
  const value = `('${literal.replaceAll("'", "''")}'::${type})`;
  const of = await client.query<{ oid: number; send: string; out: string }>(
    `SELECT t.oid::int, typsend::text AS send, typoutput::text AS out FROM pg_type t WHERE t.oid = pg_typeof${value}::oid`,
  );
  const [found] = of.rows;
  if (found === undefined) throw new Error(`no type ${type}`);
  const { oid, send, out } = found;
  const bytes = format === 1 ? `${send}(${value})` : `convert_to(${out}(${value})::text, 'UTF8')`;
  const wire = await client.query<{ hex: string }>(`SELECT encode(${bytes}, 'hex') AS hex`);
  return { oid, bytes: Buffer.from(wire.rows[0]?.hex ?? "", "hex") };
}

/** Sends a value as a parameter of a type in a format, and has it printed: null is NULL. */
async function printed(client: pg.Client, type: string, bytes: Buffer | null, format: 0 | 1): Promise<string | null> {
  // node-postgres sends strings as text and Buffers as binary.
  const value = bytes === null ? null : format === 0 ? bytes.toString("utf8") : bytes;
  const plain = type.replace(/\(.*\)/, "").replace(/^char$/, "bpchar");
  const text = plain === '"char"' ? "SELECT encode(charsend($1), 'escape') AS value" : `SELECT $1::${plain}::text AS value`;
  const result = await client.query<{ value: string | null }>(text, [value]);
  return result.rows[0]?.value ?? null;
}

describe.each(availableVersions())("PostgreSQL %i", (version) => {
  let postgres: PostgresServer;
  let client: pg.Client;
  beforeAll(async () => {
    postgres = await startPostgres({ version });
    client = await connectTo(postgres, "postgres");
    await client.query("CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TYPE person AS (email text, age int)");
  }, 60_000);
  afterAll(async () => {
    await client.end();
    await postgres.stop();
  });

  describe.each(SAMPLES)("$type", ({ type, values, keeps }) => {
    it.each(FORMATS)(
      "in $name is masked in kind, or NULL, by every strategy",
      async ({ format }) => {
        for (const literal of values) {
          const { oid, bytes } = await onTheWire(client, type, literal, format);
          const original = await printed(client, type, bytes, format);
          for (const [name, strategy] of Object.entries(STRATEGIES)) {
            const column: ColumnMask = { class: "email", strategy, paths: [], typeOid: oid, format };
            const mask = createValueMask(column, KEY);
            const masked = mask.kind === "constant" ? mask.bytes : mask.of(bytes);
            const what = `${type} ${literal} by ${name}`;
            expect(masked === null, what).toBe(!keeps.includes(name));
            if (masked === null) continue;
            const accepted = await printed(client, type, masked, format);
            expect(accepted, what).not.toBeNull();
            if (strategy.kind === "hash" || strategy.kind === "redact") expect(accepted, what).not.toBe(original);
          }
        }
      },
      60_000,
    );
  });
});
