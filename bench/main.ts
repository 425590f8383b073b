/**
 * `npm run bench [-- --json FILE] [--rounds N] [--quick]`: the data path, measured three ways in one run on one
 * machine — direct to PostgreSQL, through the bare tunnel (same connector, edge and agent, which passes bytes unread),
 * and through the full gateway. Every process is a real one: workerd, agent, connector, PostgreSQL, pgbench, psql.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startDevGateway } from "../dev/gateway.ts";
import { startPostgres } from "../dev/postgres.ts";
import { mintDevToken } from "../dev/token.ts";
import { V8_FLAGS } from "../tunnel-agent/engine.ts";
import { execute, SETUP, type Sizes } from "./cases.ts";
import { printTable, type Row } from "./rows.ts";

const HELP =
  "npm run bench -- [--json FILE] [--rounds N] [--quick] [--profile DIR]\n  --json FILE  write rows {case, path, metric, value, unit}\n  --rounds N   medians over N rounds (default 3)\n  --quick      a tenth of everything: to see that it runs, not for numbers\n  --profile DIR  write the agent's CPU profile there (it slows the agent: no numbers then)\n";
const { values } = parseArgs({
  options: {
    json: { type: "string" },
    rounds: { type: "string", default: "3" },
    quick: { type: "boolean", default: false },
    profile: { type: "string" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}

const root = join(import.meta.dirname, "..");

/** PostgreSQL's programs: Debian's newest, else whatever PATH has. */
function tool(name: string): string {
  const base = "/usr/lib/postgresql";
  const versions = existsSync(base) ? readdirSync(base).sort((a, b) => Number(b) - Number(a)) : [];
  for (const directory of [...versions.map((version) => join(base, version, "bin")), ...(process.env["PATH"] ?? "").split(":")]) {
    if (existsSync(join(directory, name))) return join(directory, name);
  }
  process.stderr.write(`${name} is needed and not installed (Debian: postgresql, postgresql-contrib)\n`);
  return process.exit(69);
}

const tools = { psql: tool("psql"), pgbench: tool("pgbench") };
const sizes: Sizes = values.quick ? { copyRows: 100_000, seconds: 1, connects: 10 } : { copyRows: 1_000_000, seconds: 5, connects: 100 };
const children: ChildProcess[] = [];
const directory = await mkdtemp(join(tmpdir(), "sallyport-bench-"));
await cp(join(root, "bench", "site"), directory, { recursive: true });

process.stderr.write("starting PostgreSQL, workerd, agent and connector\n");
const postgres = await startPostgres();
const direct = {
  PGHOST: postgres.host,
  PGPORT: String(postgres.port),
  PGUSER: postgres.superuser.user,
  PGPASSWORD: postgres.superuser.password,
  PGDATABASE: "postgres",
  PGSSLMODE: "disable",
};
const gateway = await startDevGateway({ directory, port: 0, env: process.env, agentLog: process.stderr, version: "bench", agent: false });
try {
  await execute(tools.psql, ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", SETUP(sizes).replace(/\s*VACUUM ANALYZE;/, "")], direct);
  await execute(tools.psql, ["-X", "-q", "-c", "VACUUM ANALYZE"], direct);
  const address = `${postgres.host}:${postgres.port}`;
  await writeFile(
    join(directory, "agent.yaml"),
    `gateway: ${gateway.origin}
name: bench
state_dir: ./agent-state
enrolment_token: env:ENROLMENT_TOKEN
log_level: error
health: { listen: "127.0.0.1:0" }
targets:
  - { name: bench-db, protocol: postgres, address: "${address}", database: postgres, user: ${direct.PGUSER}, password: env:BENCH_PASSWORD, tls: disable }
  - { name: bench-masked, protocol: postgres, address: "${address}", database: postgres, user: ${direct.PGUSER}, password: env:BENCH_PASSWORD, tls: disable }
  - { name: bench-raw, protocol: tunnel, address: "${address}" }
`,
  );
  const profiling = values.profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${values.profile}`];
  const agent = spawn(process.execPath, [...V8_FLAGS, ...profiling, join(root, "bench", "agent.ts"), join(directory, "agent.yaml")], {
    env: { ...process.env, ENROLMENT_TOKEN: await gateway.enrolmentToken(), BENCH_PASSWORD: postgres.superuser.password },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(agent);
  await new Promise<void>((resolve, reject) => {
    agent.stdout.once("data", () => resolve());
    agent.once("exit", (code) => reject(new Error(`the agent ended with ${code}`)));
  });
  const approverToken = (): Promise<string> =>
    mintDevToken({ directory, provider: "github", claims: ["repository_id=555555555", "repository_owner_id=4242"], now: Date.now() });
  const votes = values.quick ? 3 : 40;
  const voting = { gateway: gateway.origin, votes, tokens: await Promise.all(Array.from({ length: votes * 4 }, approverToken)) };
  const plan = {
    voting,
    tools,
    sizes,
    rounds: Number(values.rounds),
    agentPid: agent.pid,
    resultBytes: values.quick ? 1e8 : 1e9,
    direct,
  };
  const token = await mintDevToken({
    directory,
    provider: "github",
    claims: ["repository_id=987654321", "repository_owner_id=4242"],
    now: Date.now(),
  });
  const { stdout } = await new Promise<{ stdout: string }>((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [
        join(root, "runner", "main.ts"),
        "run",
        "bench-db",
        "bench-masked",
        "bench-raw",
        "--",
        process.execPath,
        join(root, "bench", "measure.ts"),
      ],
      {
        env: { ...process.env, SALLYPORT_GATEWAY: gateway.origin, SALLYPORT_TOKEN: token, SALLYPORT_BENCH_PLAN: JSON.stringify(plan) },
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    children.push(child);
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    child.on("close", (code) => (code === 0 ? resolve({ stdout: text }) : reject(new Error(`the measuring command ended with ${code}`))));
  });
  const rows = JSON.parse(stdout) as Row[];
  process.stdout.write(`${printTable(rows)}\n`);
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(rows, null, 1)}\n`);
} finally {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await ended;
  }
  await gateway.stop();
  await postgres.stop();
  await rm(directory, { recursive: true, force: true });
}
