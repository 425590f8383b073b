/**
 * The same client program twice: straight to the server, and through the gateway, each with a database of its own made
 * from one template. What it prints and how it exits must be the same.
 */
import { spawn } from "node:child_process";
import { Client } from "pg";
import { makeVerifier } from "../../../../tunnel-agent/protocols/postgres/scram.ts";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { startGateway, type Gateway } from "../support.ts";

const PASSWORD = "per-run secret";
/** What the gateway's own database is called at the target; clients see one name on both ways. */
const THROUGH = "through";
const DIRECT = "direct";

export interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
}

export interface Both {
  readonly server: PostgresServer;
  readonly gateway: Gateway;
  /** Runs it on both ways, one after the other. */
  run(command: string, args: readonly string[], options?: RunOptions): Promise<{ readonly direct: Ran; readonly through: Ran }>;
  runOn(way: "direct" | "through", command: string, args: readonly string[], options?: RunOptions): Promise<Ran>;
  /** Environment of a client on one way: PGHOST, … */
  environment(way: "direct" | "through"): Record<string, string>;
  /** As the superuser, in both databases. */
  prepare(sql: string): Promise<void>;
  /** Rows of a query in either database, as JSON, past the gateway. */
  rows(sql: string): Promise<{ readonly direct: unknown; readonly through: unknown }>;
  stop(): Promise<void>;
}

export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export async function startBoth(version?: 15 | 18): Promise<Both> {
  const server = await startPostgres(version === undefined ? {} : { version });
  const at = async (database: string): Promise<Client> => {
    const client = new Client({ host: server.host, port: server.port, database, ...server.superuser });
    await client.connect();
    return client;
  };
  const admin = await at("postgres");
  await admin.query(`create database ${DIRECT}`);
  await admin.query(`create database ${THROUGH}`);
  await admin.end();
  const auth = { method: "scram-sha-256", ...(await makeVerifier(PASSWORD)) } as const;
  const gateway = await startGateway({ postgres: server, auth, config: { database: THROUGH } });
  const environment = (way: "direct" | "through"): Record<string, string> => ({
    PATH: process.env["PATH"] ?? "",
    LANG: "C.UTF-8",
    PGHOST: "127.0.0.1",
    PGPORT: String(way === "direct" ? server.port : gateway.port),
    PGUSER: way === "direct" ? server.superuser.user : "job",
    PGPASSWORD: way === "direct" ? server.superuser.password : PASSWORD,
    PGDATABASE: way === "direct" ? DIRECT : THROUGH,
  });
  const each = async <T>(act: (client: Client) => Promise<T>): Promise<{ direct: T; through: T }> => {
    const one = async (database: string): Promise<T> => {
      const client = await at(database);
      try {
        return await act(client);
      } finally {
        await client.end();
      }
    };
    return { direct: await one(DIRECT), through: await one(THROUGH) };
  };
  const runOn: Both["runOn"] = (way, command, args, options = {}) =>
    runOne(command, args, { ...environment(way), ...options.env }, options.input ?? "");
  return {
    server,
    gateway,
    environment,
    runOn,
    async run(command, args, options = {}) {
      return { direct: await runOn("direct", command, args, options), through: await runOn("through", command, args, options) };
    },
    async prepare(sql) {
      await each(async (client) => client.query(sql));
    },
    async rows(sql) {
      return await each(async (client) => (await client.query(sql)).rows as unknown);
    },
    async stop() {
      await gateway.stop();
      await server.stop();
    },
  };
}

async function runOne(command: string, args: readonly string[], env: Record<string, string>, input: string): Promise<Ran> {
  const child = spawn(command, args, { env, stdio: ["pipe", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  return { stdout, stderr, code };
}
