/**
 * A server with two logins for one gateway: `app`, which may not SELECT the classified columns, and `app_classified`,
 * which may. What is routed to the second is a function of the test, so that lanes can be tried without a catalogue.
 */
import type { PostgresTargetConfig } from "../../../../tunnel-agent/protocols/postgres/config.ts";
import { AnalysisCache } from "../../../../tunnel-agent/protocols/postgres/analysis.ts";
import { keepCatalogue } from "../../../../tunnel-agent/protocols/postgres/catalogue/connect.ts";
import { parseAddress } from "../../../../tunnel-agent/protocols/postgres/config.ts";
import { CancelKeys } from "../../../../tunnel-agent/protocols/postgres/keys.ts";
import { serveConnection, type ServedTarget } from "../../../../tunnel-agent/protocols/postgres/serve.ts";
import type { ClassifiedLogin } from "../../../../tunnel-agent/protocols/postgres/split-serve.ts";
import { loadSqlParser } from "../../../../tunnel-agent/protocols/postgres/sql/analyse.ts";
import type { Reachable } from "../../../../tunnel-agent/protocols/postgres/target/reach.ts";
import type { TargetDeps, TargetServer } from "../../../../tunnel-agent/session.ts";
import { connectTo } from "../../../support/database.ts";
import type { PostgresServer } from "../../../support/postgres.ts";

export const PASSWORDS: Record<string, string> = { app: "low-password-of-the-test", app_classified: "high-password-of-the-test" };

/** Keys of the target's entry in agent.yaml. */
export const logins = {
  user: "app",
  password: "env:app",
  classified_login: { user: "app_classified", password: "env:app_classified" },
};

export const SENTINEL = "sentinel@example.com";

export async function prepareDatabase(postgres: PostgresServer): Promise<void> {
  const admin = await connectTo(postgres, "postgres");
  for (const [user, password] of Object.entries(PASSWORDS)) await admin.query(`CREATE ROLE ${user} LOGIN PASSWORD '${password}'`);
  await admin.query(`
    CREATE TABLE users (id int PRIMARY KEY, name text, email text, joined date);
    INSERT INTO users SELECT i, 'name ' || i, CASE i WHEN 1 THEN '${SENTINEL}' ELSE 'user' || i || '@example.com' END, date '2020-02-03' + i
      FROM generate_series(1, 5) i;
    CREATE TABLE notes (id serial PRIMARY KEY, text text);
    CREATE SCHEMA side;
    CREATE TABLE side.users (id int PRIMARY KEY, name text, email text, joined date);
    INSERT INTO side.users VALUES (1, 'aside', 'aside@example.com', '2021-01-01');
    GRANT USAGE ON SCHEMA side TO app, app_classified;
    GRANT SELECT (id, name, joined), INSERT, UPDATE, DELETE ON users, side.users TO app;
    GRANT ALL ON notes, notes_id_seq TO app;
    GRANT SELECT ON users, side.users TO app_classified;
  `);
  await admin.end();
}

/** Sends what returns `email` to the second login; as `needs` of a catalogue would. */
export const byWord: ClassifiedLogin["needs"] = ({ sketch }) => {
  if (sketch.kind !== "query" && sketch.kind !== "copy-query") return "no";
  return sketch.query.kind === "select" && JSON.stringify(sketch.query.outputs).includes('"email"') ? "yes" : "no";
};

export function createWith(needs: ClassifiedLogin["needs"]) {
  return async (config: PostgresTargetConfig, deps: TargetDeps): Promise<TargetServer> => {
    const address = parseAddress(config.address);
    if (address === null) throw new Error("address");
    const reach = (user: string): Reachable => ({
      config,
      connect: { address, tls: config.tls, ca: undefined, serverName: undefined },
      login: { user, methods: ["scram-sha-256"], password: async () => PASSWORDS[user] ?? "", protocol: config.max_protocol },
    });
    const analyse = await loadSqlParser();
    const target: ServedTarget = {
      ...reach("app"),
      name: deps.name,
      analysis: new AnalysisCache(analyse),
      catalogue: keepCatalogue({ ...reach("app"), name: deps.name }, analyse, deps.log),
      keys: new CancelKeys(),
      admitting: new Map(),
      classified: { reach: reach("app_classified"), needs },
    };
    return { serve: (client, open, session) => serveConnection(target, client, open, session), ready: {} };
  };
}
