/** An agent for a test: its directory, its configuration, in this process or as a process of its own; and its clients. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { connectSession, type ConnectorSession } from "../../../../link/connector.ts";
import type { LinkStream } from "../../../../link/types.ts";
import { startAgent, type RunningAgent } from "../../../../tunnel-agent/agent.ts";
import { loadAgentConfig, printProblem } from "../../../../tunnel-agent/config/load.ts";
import type { TestGateway } from "./gateway.ts";
import { linesOf, linesProtocol } from "./lines.ts";

export const SECRET = "S3cr3t-of-the-orders-db-0123456789";
export const PROTOCOLS = { tunnel: linesProtocol };

export interface Place {
  readonly directory: string;
  readonly config: string;
  readonly env: Record<string, string | undefined>;
  remove(): void;
}

/** A directory with agent.yaml and a credential file. */
export function place(gateway: TestGateway, more = ""): Place {
  const directory = mkdtempSync(join(tmpdir(), "sallyport-agent-"));
  const config = join(directory, "agent.yaml");
  writeFileSync(join(directory, "password"), `${SECRET}\n`, { mode: 0o600 });
  writeFileSync(
    config,
    `gateway: ${gateway.origin}
name: dc1-a
state_dir: state
enrolment_token: env:ENROLMENT
log_level: debug
health: { listen: 127.0.0.1:0 }
targets:
  - { name: orders-db, protocol: tunnel, environment: production, password: "file:password" }
  - { name: other-db, protocol: tunnel, password: "env:OTHER_PASSWORD" }
${more}`,
  );
  const env = { ...process.env, ENROLMENT: "enrolment-token-1", OTHER_PASSWORD: SECRET };
  return { directory, config, env, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

export interface Started {
  readonly agent: RunningAgent;
  log(): string;
}

export async function start(where: Place): Promise<Started> {
  const config = loadAgentConfig(where.config, PROTOCOLS);
  if (!config.ok) throw new Error(config.error.map(printProblem).join("\n"));
  let text = "";
  const log = { write: (line: string) => void (text += line) };
  const agent = await startAgent({ config: config.value, protocols: PROTOCOLS, env: where.env, log, version: "test" });
  return { agent, log: () => text };
}

export interface Process {
  readonly child: ChildProcess;
  log(): string;
  exited: Promise<number | null>;
}

/** The agent as the command runs it. */
export function startProcess(where: Place): Process {
  const program = `import { runAgentCommand } from ${JSON.stringify(join(import.meta.dirname, "../../../../tunnel-agent/main.ts"))};
    import { PROTOCOLS } from ${JSON.stringify(join(import.meta.dirname, "agents.ts"))};
    process.exitCode = await runAgentCommand({ config: ${JSON.stringify(where.config)}, protocols: PROTOCOLS, version: "test" });`;
  const args = ["--disable-warning=ExperimentalWarning", "--input-type=module-typescript", "-e", program];
  const child = spawn(process.execPath, args, { env: where.env, stdio: ["ignore", "inherit", "pipe"] });
  let text = "";
  child.stderr.on("data", (data: Buffer) => void (text += data.toString()));
  const exited = new Promise<number | null>((resolve) => child.once("close", (code) => resolve(code)));
  return { child, log: () => text, exited };
}

export interface Client {
  readonly session: ConnectorSession;
  readonly stream: LinkStream;
  /** Sends a line and gives the answer. */
  ask(line: string): Promise<string>;
  /** The next line that comes by itself; undefined at the end. */
  next(): Promise<string | undefined>;
}

/** A connector's session and one stream in it. */
export async function connect(gateway: TestGateway, target = "orders-db"): Promise<Client> {
  const connected = await connectSession({
    url: `${gateway.origin}/v1/targets/${target}/connect`,
    headers: () => Promise.resolve({}),
    resumeUrl: (session) => `${gateway.origin}/v1/sessions/${session}/resume`,
    log: pino({ level: "silent" }),
  });
  if (!connected.ok) throw new Error(`not connected: ${connected.error.message}`);
  const session = connected.value;
  return { session, ...openStream(session) };
}

export function openStream(session: ConnectorSession): Omit<Client, "session"> {
  const stream = session.open({ kind: "tcp", auth: { method: "trust" } });
  stream.on("error", () => {});
  const received: string[] = [];
  const waiting: ((line: string | undefined) => void)[] = [];
  let closed = false;
  const read = async (): Promise<void> => {
    for await (const line of linesOf(stream)) {
      const resolve = waiting.shift();
      if (resolve === undefined) received.push(line);
      else resolve(line);
    }
    closed = true;
    for (const resolve of waiting.splice(0)) resolve(undefined);
  };
  void read();
  const next = (): Promise<string | undefined> => {
    const line = received.shift();
    if (line !== undefined || closed) return Promise.resolve(line);
    return new Promise((resolve) => waiting.push(resolve));
  };
  return {
    stream,
    next,
    ask: async (line) => {
      stream.write(`${line}\n`);
      return (await next()) ?? "closed";
    },
  };
}
