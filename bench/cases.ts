/**
 * What is measured, with the tools that users have: pgbench and psql, each path in turn within a round. The numbers
 * are theirs or the wall clock's around them; nothing is simulated.
 */
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { quantile, type Path, type Row } from "./rows.ts";

export interface Endpoint {
  readonly path: Path;
  /** libpq's environment. */
  readonly env: Readonly<Record<string, string>>;
}

export interface Sizes {
  /** Rows of the table that COPY reads. */
  readonly copyRows: number;
  /** s of each pgbench run. */
  readonly seconds: number;
  readonly connects: number;
}

export interface Tools {
  readonly psql: string;
  readonly pgbench: string;
}

/** Views of one table: each is classified in its own way (bench/site/sallyport/masking.yaml). */
export const VIEWS = [
  { masked: 0, name: "wide" },
  { masked: 1, name: "wide_one" },
  { masked: 2, name: "wide_two" },
  { masked: 4, name: "wide_four" },
] as const;

const MASKED_SETUP = VIEWS.filter(({ masked }) => masked > 0)
  .map(({ name }) => `CREATE VIEW ${name} AS SELECT * FROM wide;`)
  .join("\n");

export const SETUP = (sizes: Sizes): string => `
  CREATE TABLE points (id integer PRIMARY KEY, payload text NOT NULL);
  INSERT INTO points SELECT i, md5(i::text) FROM generate_series(1, 10000) i;
  CREATE TABLE wide AS SELECT i AS id, md5(i::text) AS a, md5((i + 1)::text) AS b, 'customer-' || i AS name, i % 100 AS quantity,
    (i % 10000)::numeric / 100 AS price, timestamptz '2026-01-01' + i * interval '1 second' AS placed_at, (i % 7 = 0) AS paid
    FROM generate_series(1, ${sizes.copyRows}) i;
  CREATE INDEX ON wide (id);
  ${MASKED_SETUP}
  CREATE TABLE arrivals (at timestamptz);
  VACUUM ANALYZE;`;

const POINT_SELECT = "\\set id random(1, 10000)\nSELECT id, payload FROM points WHERE id = :id;\n";

/** Runs to its end; rejects with its stderr. `bytes` counts stdout, which is thrown away unless `keep`. */
export function execute(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  options: { keep?: boolean; cwd?: string } = {},
): Promise<{ ms: number; bytes: number; stdout: string }> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(command, args, {
      env: { PATH: process.env["PATH"] ?? "", ...env },
      stdio: ["ignore", "pipe", "pipe"],
      cwd: options.cwd,
    });
    let bytes = 0;
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (options.keep === true) stdout += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      stderr = (stderr + chunk.toString()).slice(-4000);
    });
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve({ ms: performance.now() - started, bytes, stdout });
      else reject(new Error(`${command} ended with ${code}: ${stderr}`));
    });
  });
}

async function pgbench(
  tools: Tools,
  endpoint: Endpoint,
  args: readonly string[],
  script = POINT_SELECT,
): Promise<{ tps: number; connectMs: number; latencies: number[] }> {
  const directory = await mkdtemp(join(tmpdir(), "sallyport-bench-"));
  try {
    await writeFile(join(directory, "point-select"), script);
    const { stdout } = await execute(tools.pgbench, ["-n", "-f", "point-select", "-l", "--log-prefix=tx", ...args], endpoint.env, {
      keep: true,
      cwd: directory,
    });
    const latencies: number[] = [];
    for (const file of await readdir(directory)) {
      if (!file.startsWith("tx.")) continue;
      // client, transaction, latency in µs, …
      for (const line of (await readFile(join(directory, file), "utf8")).split("\n"))
        if (line !== "") latencies.push(Number(line.split(" ")[2]) / 1000);
    }
    const number = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1] ?? Number.NaN);
    return {
      tps: number(/tps = ([\d.]+)/),
      connectMs: number(/average connection time = ([\d.]+) ms/),
      latencies: latencies.sort((a, b) => a - b),
    };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export interface PointSelect {
  readonly mode: "simple" | "prepared";
  readonly clients: number;
  readonly script?: string;
  readonly name?: string;
}

export async function pointSelect(tools: Tools, endpoint: Endpoint, sizes: Sizes, what: PointSelect): Promise<Row[]> {
  const { mode, clients, script, name = "point select" } = what;
  const args = ["-M", mode, "-c", String(clients), "-j", "1", "-T", String(sizes.seconds)];
  const { tps, latencies } = await pgbench(tools, endpoint, args, script);
  const row = (metric: string, value: number, unit: string): Row => ({
    case: `${name}, ${mode}, ${clients} client${clients > 1 ? "s" : ""}`,
    path: endpoint.path,
    metric,
    value,
    unit,
  });
  const rows = [row("statements/s", tps, "1/s")];
  if (clients > 1) return rows;
  return [...rows, row("latency p50", quantile(latencies, 0.5), "ms"), row("latency p99", quantile(latencies, 0.99), "ms")];
}

export async function pointSelects(tools: Tools, endpoint: Endpoint, sizes: Sizes): Promise<Row[]> {
  const rows: Row[] = [];
  for (const mode of ["simple", "prepared"] as const) {
    for (const clients of [1, 8]) rows.push(...(await pointSelect(tools, endpoint, sizes, { mode, clients })));
  }
  return rows;
}

export async function connects(tools: Tools, endpoint: Endpoint, sizes: Sizes): Promise<Row[]> {
  const { connectMs } = await pgbench(tools, endpoint, ["-C", "-c", "1", "-t", String(sizes.connects)]);
  return [{ case: "connect", path: endpoint.path, metric: "connection time", value: connectMs, unit: "ms" }];
}

export async function copyOut(tools: Tools, endpoint: Endpoint): Promise<Row[]> {
  const { ms, bytes } = await execute(tools.psql, ["-X", "-q", "-c", "COPY wide TO STDOUT"], endpoint.env);
  return [{ case: "COPY out", path: endpoint.path, metric: "rate", value: bytes / 1e6 / (ms / 1000), unit: "MB/s" }];
}
