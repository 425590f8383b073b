/** A target with an ordinary login, and keepers of its catalogue; its owner speaks past them. */
import type { Client } from "pg";
import { pino } from "pino";
import { keepCatalogue } from "../../../../tunnel-agent/protocols/postgres/catalogue/connect.ts";
import type { CatalogueKeeper } from "../../../../tunnel-agent/protocols/postgres/catalogue/keeper.ts";
import type { Catalogue } from "../../../../tunnel-agent/protocols/postgres/catalogue/types.ts";
import { PostgresTargetConfig } from "../../../../tunnel-agent/protocols/postgres/index.ts";
import { loadSqlParser } from "../../../../tunnel-agent/protocols/postgres/sql/analyse.ts";
import type { MaskingRules } from "../../../../policy/types.ts";
import { connectTo } from "../../../support/database.ts";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";

export interface Target {
  readonly postgres: PostgresServer;
  readonly superuser: Client;
  keep(port?: number): Promise<CatalogueKeeper>;
  stop(): Promise<void>;
}

const PASSWORD = "an ordinary login";

export async function startTarget(version: 15 | 18, sql: string): Promise<Target> {
  const postgres = await startPostgres({ version });
  const superuser = await connectTo(postgres, "postgres");
  await superuser.query(`create role job login password '${PASSWORD}'`);
  await superuser.query(sql);
  const analyse = await loadSqlParser();
  return {
    postgres,
    superuser,
    async keep(port = postgres.port) {
      const config = PostgresTargetConfig.parse({ address: `127.0.0.1:${port}`, database: "postgres", user: "job", tls: "disable" });
      const login = {
        user: "job",
        methods: ["scram-sha-256"] as const,
        password: () => Promise.resolve(PASSWORD),
        protocol: "3.2" as const,
      };
      const connect = {
        address: { kind: "tcp", host: "127.0.0.1", port } as const,
        tls: "disable" as const,
        ca: undefined,
        serverName: undefined,
      };
      return await Promise.resolve(keepCatalogue({ name: "orders-db", config, connect, login }, analyse, pino({ level: "silent" })));
    },
    async stop() {
      await superuser.end();
      await postgres.stop();
    },
  };
}

/** Classes by columns as `schema.table.column`, and by `*name*` patterns. */
export function rules(columns: Record<string, readonly string[]>): MaskingRules {
  const classes = Object.entries(columns).map(([name, written]) => ({
    name,
    columns: written
      .filter((one) => one.includes("."))
      .map((one) => {
        const [schema = "", table = "", column = ""] = one.split(".");
        return { target: "orders-db", schema, table, column };
      }),
    names: written.filter((one) => !one.includes(".")),
    targets: [],
    detectors: [],
    paths: [],
    mask: { kind: "redact" } as const,
  }));
  return { classes };
}

export async function loaded(keeper: CatalogueKeeper, of: MaskingRules): Promise<Catalogue> {
  const result = await keeper.refresh(of);
  if (!result.ok) throw new Error(result.error);
  return result.value;
}

/** `class`, `computed from a+b`, or undefined; `name` is `schema.relation.column`. */
export function classOf(catalogue: Catalogue, name: string): string | undefined {
  const [schema = "", table = "", column = ""] = name.split(".");
  const relation = catalogue.resolve(schema, table, []);
  const attribute = [...(relation?.attributes.values() ?? [])].find((one) => one.name === column);
  if (relation === undefined || attribute === undefined) throw new Error(`there is no ${name}`);
  const classified = catalogue.classified(relation.oid, attribute.attnum);
  return classified?.kind === "derived" ? `computed from ${classified.from.join("+")}` : classified?.class;
}
