/** The search_path that a backend is given: it holds pg_temp, and holds it last (PG-17, PG-44). */
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ClientParameters } from "../../../../tunnel-agent/protocols/postgres/client/parameters.ts";
import { PostgresTargetConfig } from "../../../../tunnel-agent/protocols/postgres/index.ts";
import { parseSearchPath } from "../../../../tunnel-agent/protocols/postgres/session/search-path.ts";
import { targetParameters } from "../../../../tunnel-agent/protocols/postgres/target/reach.ts";
import { connectTo } from "../../../support/database.ts";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";

let postgres: PostgresServer;
let client: pg.Client;
beforeAll(async () => {
  postgres = await startPostgres();
  client = await connectTo(postgres, "postgres");
}, 60_000);
afterAll(async () => {
  await client.end();
  await postgres.stop();
});

function pathOf(search_path: readonly string[]): string {
  const config = PostgresTargetConfig.parse({ address: "127.0.0.1", database: "x", user: "x", tls: "disable", search_path });
  const reachable = {
    config,
    connect: {
      address: { kind: "tcp", host: "127.0.0.1", port: 1 } as const,
      tls: "disable" as const,
      ca: undefined,
      serverName: undefined,
    },
    login: { user: "x", methods: [], password: undefined, protocol: "3.0" as const },
  };
  const parameters: ClientParameters = { user: "x", applicationName: "", settings: new Map() };
  return new Map(targetParameters(reachable, "ses_x", parameters)).get("search_path") ?? "";
}

describe("PG-17 a temporary table stands behind every other", () => {
  const seen = async (path: string): Promise<unknown> => {
    await client.query("begin; create table public.orders as select 'theirs' as whose; create temp table orders as select 'own' as whose");
    await client.query(`set local search_path = ${path}`);
    const { rows } = await client.query<{ whose: string }>("select whose from orders");
    await client.query("rollback");
    return rows[0]?.whose;
  };

  it("in the path that backends are given", async () => {
    expect(pathOf(["public"])).toBe("public, pg_temp");
    expect(await seen(pathOf(["public"]))).toBe("theirs");
  });

  it("unless the target's own path says otherwise", () => {
    expect(pathOf(["pg_temp", "public"])).toBe("pg_temp, public");
  });

  it("and is no schema that others' names are asked for in", () => {
    expect(parseSearchPath("public, pg_temp")).toEqual(["public"]);
    expect(parseSearchPath('"$user", public')).toEqual(["$user", "public"]);
    expect(parseSearchPath("pg_temp, public")).toEqual(["pg_temp", "public"]);
  });

  // The negative control: without it the server looks there first.
  it("and does not where the path leaves it out", async () => {
    expect(await seen("public")).toBe("own");
  });
});
