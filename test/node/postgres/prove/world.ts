/**
 * Two databases that differ in classified values only, the catalogue of the first as the agent loads it, and what the
 * prover says of a text. Statements are run past the gateway: it is the prover that is under test, not the machine.
 */
import { readFileSync } from "node:fs";
import { Client, type QueryArrayResult } from "pg";
import { pino } from "pino";
import { readMasking } from "../../../../policy/bundle/masking.ts";
import { readYaml } from "../../../../policy/bundle/yaml.ts";
import type { MaskingRules, Problem } from "../../../../policy/types.ts";
import { keepCatalogue } from "../../../../tunnel-agent/protocols/postgres/catalogue/connect.ts";
import type { CatalogueKeeper } from "../../../../tunnel-agent/protocols/postgres/catalogue/keeper.ts";
import type { Catalogue } from "../../../../tunnel-agent/protocols/postgres/catalogue/types.ts";
import { PostgresTargetConfig } from "../../../../tunnel-agent/protocols/postgres/index.ts";
import { prove, type ProveOptions } from "../../../../tunnel-agent/protocols/postgres/masking/prove.ts";
import type { ExpectedColumn, MaskingVerdict } from "../../../../tunnel-agent/protocols/postgres/masking/types.ts";
import { loadSqlParser } from "../../../../tunnel-agent/protocols/postgres/sql/analyse.ts";
import type { AnalyseSql } from "../../../../tunnel-agent/protocols/postgres/sql/types.ts";
import { startDatabases } from "../bypass/databases.ts";

export const VECTORS = new URL("../../../vectors/postgres/prove/", import.meta.url);
const BYPASS = new URL("../../../vectors/postgres/bypass/", import.meta.url);

const read = (name: string, base: URL): string => readFileSync(new URL(name, base), "utf8");

/** The rules of a masking.yaml, as the policy room reads them. */
export function rulesOf(text: string): MaskingRules {
  const problems: Problem[] = [];
  const [document] = readYaml("masking.yaml", text).documents;
  const masking = document === undefined ? undefined : readMasking("masking.yaml", document, problems);
  if (masking === undefined) throw new Error(JSON.stringify(problems));
  return masking.rules;
}

export interface World {
  readonly analyse: AnalyseSql;
  readonly keeper: CatalogueKeeper;
  readonly rules: MaskingRules;
  catalogue(): Catalogue;
  /** Of the last statement of the text. */
  prove(sql: string, options?: ProveOptions & { readonly searchPath?: readonly string[] }): MaskingVerdict | null;
  /** Runs the text on both databases, in transactions that are rolled back. */
  both(sql: string): Promise<readonly [Seen, Seen]>;
  readonly clients: readonly [Client, Client];
  /** A keeper of another login or other rules' catalogue, to be closed by who asked. */
  keep(user?: { readonly user: string; readonly password: string }): CatalogueKeeper;
  reload(): Promise<void>;
  stop(): Promise<void>;
}

/** All that a client would get. */
export interface Seen {
  readonly fields: readonly { readonly name: string; readonly table: number; readonly column: number }[];
  readonly rows: readonly (readonly unknown[])[];
  readonly tag: string;
  readonly error: string | null;
  readonly notices: readonly string[];
}

export async function startWorld(): Promise<World> {
  const databases = await startDatabases();
  const names = await databases.pair();
  for (const name of names) await databases.run(name, read("schema.sql", VECTORS));
  await databases.run(names[0], read("neutral.sql", VECTORS));
  await databases.run(names[1], read("variant.sql", VECTORS));
  const connect = async (database: string): Promise<Client> => {
    const { host, port } = databases.server;
    const client = new Client({ host, port, database, ...databases.owner });
    await client.connect();
    await client.query("set statement_timeout = '5s'; set max_parallel_workers_per_gather = 0");
    return client;
  };
  const clients = [await connect(names[0]), await connect(names[1])] as const;
  const analyse = await loadSqlParser();
  const rules = { classes: [...rulesOf(read("masking.yaml", BYPASS)).classes, ...rulesOf(read("masking.yaml", VECTORS)).classes] };
  const keep = (user = databases.owner): CatalogueKeeper => {
    const { port } = databases.server;
    const config = PostgresTargetConfig.parse({ address: `127.0.0.1:${port}`, database: names[0], user: user.user, tls: "disable" });
    const login = {
      user: user.user,
      methods: ["scram-sha-256"] as const,
      password: () => Promise.resolve(user.password),
      protocol: "3.2" as const,
    };
    const address = { kind: "tcp", host: "127.0.0.1", port } as const;
    const target = {
      name: "orders-db",
      config,
      connect: { address, tls: "disable" as const, ca: undefined, serverName: undefined },
      login,
    };
    return keepCatalogue(target, analyse, pino({ level: process.env["TEST_LOG"] ?? "silent" }));
  };
  const keeper = keep();
  let catalogue: Catalogue;
  const reload = async (): Promise<void> => {
    const loaded = await keeper.refresh(rules);
    if (!loaded.ok) throw new Error(loaded.error);
    catalogue = loaded.value;
  };
  await reload();
  return {
    analyse,
    keeper,
    rules,
    catalogue: () => catalogue,
    prove(sql, { searchPath = ["public"], ...options } = {}) {
      const analysed = analyse(sql, Number.parseInt(databases.server.version, 10));
      const statement = analysed.ok ? analysed.value.statements.at(-1) : undefined;
      return statement === undefined ? null : prove(statement, catalogue, searchPath, options);
    },
    both: async (sql) => [await run(clients[0], sql), await run(clients[1], sql)],
    clients,
    keep,
    reload,
    async stop() {
      keeper.close();
      for (const client of clients) await client.end();
      await databases.stop();
    },
  };
}

/** Rows in a fixed order: the order of rows is the plan's, and the plan may go by statistics. */
async function run(client: Client, sql: string): Promise<Seen> {
  const notices: string[] = [];
  const listen = (notice: { readonly message?: string | undefined; readonly detail?: string | undefined }): number =>
    notices.push(`${notice.message ?? ""} ${notice.detail ?? ""}`);
  client.on("notice", listen);
  await client.query("begin");
  try {
    const answer: unknown = await client.query({ text: sql, rowMode: "array" });
    const last = (Array.isArray(answer) ? answer.at(-1) : answer) as QueryArrayResult | undefined;
    const fields = (last?.fields ?? []).map(({ name, tableID, columnID }) => ({ name, table: tableID, column: columnID }));
    const rows = (last?.rows ?? []).toSorted((one: unknown, other: unknown) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1));
    return { fields, rows, tag: `${last?.command ?? ""} ${last?.rowCount ?? ""}`, error: null, notices };
  } catch (error) {
    const { code, message, detail, where } = error as { code?: string; message: string; detail?: string; where?: string };
    return { fields: [], rows: [], tag: "", error: [code, message, detail, where].join(" | "), notices };
  } finally {
    await client.query("rollback");
    client.off("notice", listen);
  }
}

/** A verdict in the words of the vectors' README. */
export function written(verdict: MaskingVerdict | null, catalogue: Catalogue): string {
  if (verdict === null) return "refused";
  switch (verdict.kind) {
    case "untouched":
    case "unknown":
      return verdict.kind;
    case "unprovable":
      return `unprovable ${verdict.hazard}`;
    case "projection":
      return `projection ${verdict.columns.map(({ origin }) => (origin === null ? "-" : printed(origin, catalogue))).join(", ")}`;
    default:
      throw new Error("a verdict that the vectors have no word for");
  }
}

const quoted = (name: string): string => (/^[a-z_0-9]+$/.test(name) ? name : `"${name}"`);

function printed({ relation, attnum }: { readonly relation: number; readonly attnum: number }, catalogue: Catalogue): string {
  const found = catalogue.relation(relation);
  return [found?.schema, found?.name, found?.attributes.get(attnum)?.name].map((name) => quoted(name ?? "?")).join(".");
}

/** What is the client's to compare: OIDs are each database's own. */
export const withoutOids = ({ fields, ...rest }: Seen) => ({ ...rest, names: fields.map(({ name }) => name) });

/** Rows of a projection without its classified columns, in a fixed order. */
export function unclassifiedRows({ rows }: Seen, columns: readonly ExpectedColumn[], catalogue: Catalogue): string[] {
  const masked = columns.map(({ origin }) => origin !== null && catalogue.classified(origin.relation, origin.attnum) !== undefined);
  return rows.map((row) => JSON.stringify(row.map((value, index) => (masked[index] ? null : value)))).sort();
}

/** Columns whose origin, as the server tells it, is not what was expected; of what is computed or merged it may tell any that is clean. */
export function disagreeing({ fields }: Seen, columns: readonly ExpectedColumn[], catalogue: Catalogue): unknown[] {
  if (fields.length !== columns.length) return [`${fields.length} columns instead of ${columns.length}`];
  return fields.filter(({ table, column }, index) => {
    const origin = columns[index]?.origin ?? null;
    if (origin === null) return catalogue.classified(table, column) !== undefined;
    return origin.relation !== table || origin.attnum !== column;
  });
}
