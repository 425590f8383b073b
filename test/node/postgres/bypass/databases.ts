/**
 * Pairs of databases that differ only in classified values, on one real server: copies of two templates, so that equal
 * objects have equal OIDs. `owner` is an ordinary role that owns everything in them.
 */
import { Client } from "pg";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { textOf } from "./corpus.ts";

export const OWNER = "app_owner";
const PASSWORD = "owner-of-the-tests";

export interface Databases {
  readonly server: PostgresServer;
  readonly owner: { readonly user: string; readonly password: string };
  /** Names of two fresh databases: as schema.sql has it, and its variant. */
  pair(): Promise<readonly [string, string]>;
  drop(names: readonly string[]): Promise<void>;
  run(database: string, sql: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startDatabases(): Promise<Databases> {
  const server = await startPostgres();
  const connect = async (database: string, user: { user: string; password: string }): Promise<Client> => {
    const client = new Client({ host: server.host, port: server.port, database, ...user });
    client.on("error", () => undefined);
    await client.connect();
    return client;
  };
  const owner = { user: OWNER, password: PASSWORD };
  const run = async (database: string, sql: string): Promise<void> => {
    const client = await connect(database, owner);
    try {
      await client.query(sql);
    } finally {
      await client.end();
    }
  };
  const admin = await connect("postgres", server.superuser);
  await admin.query(`create role ${OWNER} login password '${PASSWORD}'`);
  await admin.query(`create database first_template owner ${OWNER}`);
  await run("first_template", textOf("schema.sql"));
  await admin.query(`create database second_template template first_template owner ${OWNER}`);
  await run("first_template", textOf("neutral.sql"));
  await run("second_template", textOf("variant.sql"));
  let made = 0;
  return {
    server,
    owner,
    run,
    async pair() {
      made += 1;
      const names = [`first_${made}`, `second_${made}`] as const;
      await admin.query(`create database ${names[0]} template first_template owner ${OWNER}`);
      await admin.query(`create database ${names[1]} template second_template owner ${OWNER}`);
      return names;
    },
    async drop(names) {
      for (const name of names) await admin.query(`drop database ${name} with (force)`);
    },
    async stop() {
      await admin.end();
      await server.stop();
    },
  };
}
