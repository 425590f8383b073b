/**
 * Boots the real Worker in workerd on loopback: Durable Objects, D1 (migrations applied) and R2, with their
 * state under one directory. What runs is what is deployed; only the platform around it is local.
 */
import { mkdir } from "node:fs/promises";
import type { EdgeBundle, Migration } from "./bundle.ts";

export interface LocalEdgeOptions {
  readonly bundle: EdgeBundle;
  /** 0: any free port. */
  readonly port: number;
  /** Where state is kept; made when missing. */
  readonly directory: string;
  /** Text bindings beside those of wrangler.toml. */
  readonly vars: Readonly<Record<string, string>>;
  /** What the Worker logs, a line each; default: nowhere. */
  readonly log?: (line: string) => void;
}

export interface LocalEdge {
  /** Origin, e.g. `http://127.0.0.1:8787`. */
  readonly origin: string;
  readonly db: D1Like;
  readonly bucket: unknown;
  /** Restarts workerd as a deploy does: every socket drops, storage stays. */
  redeploy(): Promise<void>;
  stop(): Promise<void>;
}

/** The part of D1 that migrations and publishing need; Miniflare hands out a proxy to the real one. */
export interface D1Like {
  prepare(query: string): D1StatementLike;
  batch(statements: D1StatementLike[]): Promise<unknown>;
}
interface D1StatementLike {
  bind(...values: unknown[]): D1StatementLike;
  run(): Promise<unknown>;
  all(): Promise<{ results: Record<string, unknown>[] }>;
}

/** As `wrangler d1 migrations apply` does: each file once, its name kept in `d1_migrations`. */
async function applyMigrations(db: D1Like, migrations: readonly Migration[]): Promise<void> {
  await db
    .prepare(
      "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)",
    )
    .run();
  const { results } = await db.prepare("SELECT name FROM d1_migrations").all();
  const applied = new Set(results.map((row) => row["name"]));
  for (const { name, queries } of migrations) {
    if (applied.has(name)) continue;
    await db.batch([...queries.map((query) => db.prepare(query)), db.prepare("INSERT INTO d1_migrations (name) VALUES (?)").bind(name)]);
  }
}

export async function bootEdge({ bundle, port, directory, vars, log = () => {} }: LocalEdgeOptions): Promise<LocalEdge> {
  const { Miniflare, Log, LogLevel } = await import("miniflare");
  await mkdir(directory, { recursive: true });
  const { config } = bundle;
  const each = <T>(record: Readonly<Record<string, string>>, make: (value: string) => T) =>
    Object.fromEntries(Object.entries(record).map(([name, value]) => [name, make(value)]));
  const options = (listen: number) => ({
    host: "127.0.0.1",
    port: 0,
    cf: false,
    handleStructuredLogs: ({ message }: { readonly message: string }) => log(message),
    log: new Log(LogLevel.WARN),
    telemetry: { enabled: false },
    resourcePersistencePath: directory,
    workers: [
      {
        config: {
          name: config.name,
          compatibilityDate: config.compatibilityDate,
          compatibilityFlags: [...config.compatibilityFlags],
          manifest: { mainModule: "worker.js", modulesRoot: directory, modules: { ...bundle.modules } },
          env: {
            ...each({ ...config.vars, ...vars }, (value) => ({ type: "text", value }) as const),
            ...each(config.durableObjects, (exportName) => ({ type: "durable-object", worker: config.name, exportName }) as const),
            ...each(config.d1, (id) => ({ type: "d1", id }) as const),
            ...each(config.r2, (name) => ({ type: "r2", name }) as const),
          },
          exports: Object.fromEntries(
            Object.values(config.durableObjects).map((name) => [name, { type: "durable-object", storage: "sqlite" } as const]),
          ),
        },
        // Past Miniflare's own front Worker: its proxying is not part of what is deployed, and is slower.
        dev: { rootPath: directory, unsafeDirectSockets: [{ host: "127.0.0.1", port: listen }] },
      },
    ],
  });
  const miniflare = new Miniflare(options(port));
  await miniflare.ready;
  const db = (await miniflare.getD1Database("DB")) as unknown as D1Like;
  await applyMigrations(db, bundle.migrations);
  const origin = (await miniflare.unsafeGetDirectURL(config.name)).origin;
  const settledPort = Number(new URL(origin).port);
  return {
    origin,
    db,
    bucket: await miniflare.getR2Bucket("RECORDINGS"),
    redeploy: () => miniflare.setOptions(options(settledPort)),
    stop: () => miniflare.dispose(),
  };
}
