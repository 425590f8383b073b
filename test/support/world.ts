/**
 * A whole Sallyport for an end-to-end test: PostgreSQL with the shop's tables, the local gateway (workerd, issuer,
 * bundle), an agent in a process of its own, and the command line as a pipeline uses it.
 */
import { spawn, type ChildProcess, type SpawnOptions } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startDevGateway, type DevGateway } from "../../dev/gateway.ts";
import { startPostgres, type PostgresServer } from "../../dev/postgres.ts";
import { mintDevToken } from "../../dev/token.ts";
import { connectTo } from "./database.ts";
import { findProgram } from "./programs.ts";

export const root = join(import.meta.dirname, "..", "..");
export const CLI = join(root, "runner", "main.ts");

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface WorldOptions {
  /** Files that are added to, or replace, those of examples/shop/sallyport. */
  readonly bundle?: Readonly<Record<string, string>>;
  readonly coupling?: "coupled" | "relay";
  /** Secrets of the gateway: of the bundle's chat channels, and SALLYPORT_SLACK_API. */
  readonly secrets?: Readonly<Record<string, string>>;
  /** Lines of agent.yaml beside the targets. */
  readonly agentYaml?: string;
  /** Names of targets, all of them the same database. Default: orders-db. */
  readonly targets?: readonly string[];
  /** The `sallyport` command, of the command line and of the agents: program and first arguments. Default: this repository's. */
  readonly command?: readonly [program: string, ...args: string[]];
  /** Where the agent dials, when not the gateway itself. */
  readonly agentGateway?: (origin: string) => Promise<string>;
}

export interface World {
  readonly directory: string;
  readonly postgres: PostgresServer;
  readonly gateway: DevGateway;
  /** The password that only the agent may know. */
  readonly targetPassword: string;
  readonly agents: readonly AgentProcess[];
  startAgent(name: string): Promise<AgentProcess>;
  /** Lines that the Worker logged. */
  readonly edgeLog: readonly string[];
  /** A job's token, of the shop's deploy job unless claims say otherwise. */
  token(provider?: string, claims?: readonly string[]): Promise<string>;
  adminToken(): Promise<string>;
  /** Runs the command line to its end. */
  sallyport(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Finished>;
  start(args: readonly string[], env?: Readonly<Record<string, string>>, options?: SpawnOptions): ChildProcess;
  /** As the gateway's operator. */
  admin(args: readonly string[]): Promise<Finished>;
  stop(): Promise<void>;
}

export interface AgentProcess {
  readonly name: string;
  readonly child: ChildProcess;
  /** Everything it logged. */
  log(): string;
  readonly stateDir: string;
}

export function finish(child: ChildProcess): Promise<Finished> {
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

const ROLE = "sallyport";

async function seed(postgres: PostgresServer, password: string): Promise<void> {
  const admin = await connectTo(postgres, "postgres");
  await admin.query("CREATE DATABASE shop");
  await admin.query(`CREATE ROLE ${ROLE} LOGIN PASSWORD '${password}'`);
  await admin.end();
  const shop = await connectTo(postgres, "shop");
  await shop.query(await readFile(join(root, "examples", "shop", "shop.sql"), "utf8"));
  await shop.query(
    `GRANT ALL ON SCHEMA public TO ${ROLE}; GRANT ALL ON ALL TABLES IN SCHEMA public TO ${ROLE}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ${ROLE}; ALTER TABLE orders OWNER TO ${ROLE}`,
  );
  await shop.end();
}

export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const [program, ...programArgs] = options.command ?? [process.execPath, CLI];
  const directory = await mkdtemp(join(tmpdir(), "sallyport-world-"));
  await cp(join(root, "examples", "shop", "sallyport"), join(directory, "sallyport"), { recursive: true });
  for (const [path, text] of Object.entries(options.bundle ?? {})) await writeFile(join(directory, "sallyport", path), text);
  const targetPassword = `target-password-${Math.random().toString(36).slice(2)}-never-seen`;
  const binaries = findProgram("postgres");
  const postgres = await startPostgres(binaries === undefined ? {} : { binaries: join(binaries, "..") });
  const running: AgentProcess[] = [];
  const edgeLog: string[] = [];
  let gateway: DevGateway | undefined;
  const stop = async (): Promise<void> => {
    for (const { child } of running) {
      if (child.exitCode === null && child.signalCode === null) {
        const gone = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGKILL");
        await gone;
      }
    }
    await gateway?.stop();
    await postgres.stop();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await seed(postgres, targetPassword);
    const dev = await startDevGateway({
      directory,
      port: 0,
      env: options.secrets ?? {},
      agentLog: process.stderr,
      edgeLog: (line) => edgeLog.push(line),
      version: "test",
      agent: false,
      coupling: options.coupling ?? "coupled",
    });
    gateway = dev;
    const agentGateway = (await options.agentGateway?.(dev.origin)) ?? dev.origin;

    const targetYaml = (name: string): string => `  - name: ${name}
    protocol: postgres
    environment: production
    address: ${postgres.host}:${postgres.port}
    database: shop
    user: ${ROLE}
    password: env:SHOP_DB_PASSWORD
    tls: disable
`;
    const startAgent = async (name: string): Promise<AgentProcess> => {
      const stateDir = join(directory, `agent-${name}`);
      const file = join(directory, `${name}.yaml`);
      await writeFile(
        file,
        `gateway: ${agentGateway}
name: ${name}
state_dir: ${stateDir}
enrolment_token: env:ENROLMENT_TOKEN
health: { listen: "127.0.0.1:0" }
${options.agentYaml ?? ""}
targets:
${(options.targets ?? ["orders-db"]).map(targetYaml).join("")}`,
      );
      const child = spawn(program, [...programArgs, "agent", "--config", file], {
        env: { PATH: process.env["PATH"] ?? "", SHOP_DB_PASSWORD: targetPassword, ENROLMENT_TOKEN: await dev.enrolmentToken() },
        stdio: ["ignore", "ignore", "pipe"],
      });
      let log = "";
      const agent: AgentProcess = { name, child, stateDir, log: () => log };
      await new Promise<void>((resolve, reject) => {
        child.stderr.on("data", (chunk: Buffer) => {
          log += chunk.toString();
          if (log.includes("connected to the gateway")) resolve();
        });
        child.once("exit", (code) => reject(new Error(`agent ${name} ended with ${code}:\n${log}`)));
      });
      running.push(agent);
      return agent;
    };

    const token = (provider = "github", claims: readonly string[] = JOB_CLAIMS): Promise<string> =>
      mintDevToken({ directory, provider, claims, now: Date.now() });
    const adminToken = (): Promise<string> => token("oidc", ["sub=00u1ops"]);
    const start: World["start"] = (args, env = {}, spawnOptions = {}) =>
      spawn(program, [...programArgs, ...args], {
        stdio: ["ignore", "pipe", "pipe"],
        ...spawnOptions,
        env: { PATH: process.env["PATH"] ?? "", HOME: directory, XDG_RUNTIME_DIR: directory, SALLYPORT_GATEWAY: dev.origin, ...env },
      });
    const sallyport: World["sallyport"] = async (args, env = {}) =>
      finish(start(args, "SALLYPORT_TOKEN" in env ? env : { SALLYPORT_TOKEN: await token(), ...env }));
    const admin = async (args: readonly string[]): Promise<Finished> => sallyport(args, { SALLYPORT_TOKEN: await adminToken() });
    return {
      directory,
      postgres,
      gateway: dev,
      edgeLog,
      targetPassword,
      agents: running,
      startAgent,
      token,
      adminToken,
      sallyport,
      start,
      admin,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Claims of the job that examples/shop calls orders-ci. */
export const JOB_CLAIMS = [
  "repository_id=741852963",
  "repository_owner_id=1597534",
  "environment=production",
  "ref=refs/heads/main",
] as const;
