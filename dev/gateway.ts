/**
 * A whole Sallyport on one machine, as `sallyport dev`, the demo and the end-to-end tests use it: the real Worker in
 * workerd, the local issuer, the bundle of `DIR/sallyport/` published, and an agent from `DIR/agent.yaml` enrolled.
 * State stays in `DIR/.sallyport/`; nothing listens but on loopback.
 *
 * It stands in for one thing only: the providers' issuers. Tokens of an https issuer are verified with the
 * local issuer's key (see worker/identity/dev-issuer.ts), since this machine cannot mint real ones.
 */
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { DestinationStream } from "pino";
import { compileBundle } from "../policy/cedar.node.ts";
import type { Policy, Problem } from "../policy/types.ts";
import { bundleDigestText, type BundleFiles } from "../protocol/agent-control.ts";
import { EnrolmentTokenAnswer, ProblemJson, type BundleRow } from "../protocol/api.ts";
import { readBundleDirectory } from "../runner/bundle.ts";
import { startAgent, type RunningAgent } from "../tunnel-agent/agent.ts";
import { parseAgentConfig, printProblem, type AgentConfig, type Protocols } from "../tunnel-agent/config/load.ts";
import { PROTOCOLS } from "../tunnel-agent/protocols/registry.ts";
import { bootEdge, type LocalEdge } from "./edge/boot.ts";
import { loadEdgeBundle } from "./edge/bundle.ts";
import { loadIssuerKey, serveIssuer } from "./issuer/issuer.ts";

export const DEV_SITE = "local";

export interface DevOptions {
  readonly directory: string;
  /** 0: any free port. */
  readonly port: number;
  /** Environment of the agent's credentials, of the secrets that the bundle's chat channels name, and SALLYPORT_SLACK_API. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly agentLog: DestinationStream;
  /** What the Worker logs, a line each. */
  readonly edgeLog?: (line: string) => void;
  readonly version: string;
  /** Start an agent from DIR/agent.yaml; default true. */
  readonly agent?: boolean;
  readonly protocols?: Protocols;
  readonly coupling?: "coupled" | "relay";
}

export interface DevGateway {
  readonly origin: string;
  readonly edge: LocalEdge;
  readonly agent: RunningAgent | undefined;
  readonly bundle: { readonly version: number; readonly published: boolean; readonly warnings: readonly Problem[] };
  /** A one-time token for another agent. */
  enrolmentToken(site?: string): Promise<string>;
  stop(): Promise<void>;
}

/** What is wrong with DIR: sentences with their places, for the person who wrote it. */
export class DevConfigError extends Error {
  override name = "DevConfigError";
}

export const devPaths = (directory: string) => ({
  agent: join(directory, "agent.yaml"),
  bundle: join(directory, "sallyport"),
  state: join(directory, ".sallyport"),
  issuerKey: join(directory, ".sallyport", "issuer.json"),
});

export const printBundleProblem = ({ file, line, column, severity, rule, message }: Problem): string =>
  `${["sallyport/" + file, line, line === undefined ? undefined : column].filter((part) => part !== undefined).join(":")}: ${severity}: ${message} [${rule}]`;

/** Reads and compiles `DIR/sallyport`. @throws DevConfigError */
export async function readDevBundle(directory: string): Promise<{ files: BundleFiles; policy: Policy }> {
  const files = await readBundleDirectory(devPaths(directory).bundle);
  if (!files.ok) throw new DevConfigError(files.error);
  const compiled = compileBundle(files.value);
  if (!compiled.ok) throw new DevConfigError(compiled.error.map(printBundleProblem).join("\n"));
  return { files: files.value, policy: compiled.value };
}

/** agent.yaml as dev runs it: its gateway, token and state directory are ours. @throws DevConfigError */
async function readAgentConfig(directory: string, gateway: string, protocols: Protocols): Promise<AgentConfig> {
  const path = devPaths(directory).agent;
  if (!existsSync(path)) throw new DevConfigError(`${path}: no such file; write your targets there (examples/shop/agent.yaml is one)`);
  const text = await readFile(path, "utf8");
  // Appended, so that the lines of problems stay those of the file.
  const completed = /^gateway:/m.test(text) ? text : `${text}\ngateway: http://127.0.0.1:8787\n`;
  const config = parseAgentConfig(completed, path, protocols);
  if (!config.ok) throw new DevConfigError(config.error.map(printProblem).join("\n"));
  return {
    ...config.value,
    gateway,
    site: undefined,
    enrolment_token: "env:SALLYPORT_DEV_ENROLMENT_TOKEN",
    state_dir: join(devPaths(directory).state, "agent"),
    health: /^health:/m.test(text) ? config.value.health : { ...config.value.health, listen: "127.0.0.1:0" },
  };
}

/** What `wrangler secret put` would have set: under the names of the bundle's channels, as far as the environment has them. */
function chatSecrets({ gateway }: Policy, env: DevOptions["env"]): Record<string, string> {
  const names = ["SALLYPORT_SLACK_API", ...gateway.channels.map(({ secret }) => secret)];
  return Object.fromEntries(names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}

/** The secret that dev and the local Worker share, kept so that a restart can publish again. */
async function bootstrapSecret(state: string): Promise<string> {
  const file = join(state, "bootstrap-secret");
  if (existsSync(file)) return (await readFile(file, "utf8")).trim();
  const secret = randomBytes(32).toString("base64url");
  await mkdir(state, { recursive: true });
  await writeFile(file, secret, { mode: 0o600 });
  return secret;
}

async function call(origin: string, secret: string, path: string, body: unknown): Promise<unknown> {
  const response = await fetch(new URL(path, origin), {
    method: "POST",
    headers: { authorization: `Bootstrap ${secret}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer: unknown = await response.json();
  if (response.ok) return answer;
  const problem = ProblemJson.safeParse(answer);
  if (!problem.success) throw new Error(`the local gateway answered ${response.status} to ${path}`);
  const { title, detail, problems } = problem.data;
  const lines = [detail ?? title, ...(problems ?? []).map((entry) => printBundleProblem(entry as Problem))];
  throw new DevConfigError(lines.join("\n"));
}

/** @throws DevConfigError for what the person can mend. */
export async function startDevGateway(options: DevOptions): Promise<DevGateway> {
  const directory = resolve(options.directory);
  const paths = devPaths(directory);
  const protocols = options.protocols ?? PROTOCOLS;
  const { files, policy } = await readDevBundle(directory);
  // Before anything is started: a broken agent.yaml should not cost a boot.
  if (options.agent !== false) await readAgentConfig(directory, "http://127.0.0.1:8787", protocols);
  const secret = await bootstrapSecret(paths.state);
  const issuer = await serveIssuer(await loadIssuerKey(paths.issuerKey));
  const stops: (() => Promise<void>)[] = [() => issuer.stop()];
  const stop = async (): Promise<void> => {
    for (const end of stops.splice(0).toReversed()) await end();
  };
  try {
    const edge = await bootEdge({
      bundle: await loadEdgeBundle(),
      port: options.port,
      directory: join(paths.state, "edge"),
      vars: {
        SALLYPORT_BOOTSTRAP_SECRET: secret,
        SALLYPORT_DEV_ISSUER: issuer.origin,
        SALLYPORT_COUPLING: options.coupling ?? "coupled",
        ...chatSecrets(policy, options.env),
      },
      ...(options.edgeLog === undefined ? {} : { log: options.edgeLog }),
    });
    stops.push(() => edge.stop());
    const bundle = await publish(edge, secret, files);
    const enrolmentToken = async (site = DEV_SITE): Promise<string> =>
      EnrolmentTokenAnswer.parse(await call(edge.origin, secret, "/v1/agents/enrolment-tokens", { site })).token;
    let agent: RunningAgent | undefined;
    if (options.agent !== false) {
      const config = await readAgentConfig(directory, edge.origin, protocols);
      const env = { ...options.env, SALLYPORT_DEV_ENROLMENT_TOKEN: await enrolmentToken() };
      agent = await startAgent({ config, protocols, env, log: options.agentLog, version: options.version });
      const running = agent;
      stops.push(() => running.stop({ graceMs: 0 }));
      await running.ready;
    }
    return { origin: edge.origin, edge, agent, bundle: { ...bundle, warnings: policy.warnings }, enrolmentToken, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Publishes the bundle unless it is the active one already. */
async function publish(edge: LocalEdge, secret: string, files: BundleFiles): Promise<{ version: number; published: boolean }> {
  const digest = createHash("sha256").update(bundleDigestText(files)).digest("hex");
  const { results } = await edge.db
    .prepare("SELECT b.version, b.digest FROM active_bundle a JOIN bundles b ON b.version = a.version")
    .all();
  const active = results[0] as { version: number; digest: string } | undefined;
  if (active?.digest === digest) return { version: active.version, published: false };
  const row = (await call(edge.origin, secret, "/v1/bundles", { files, note: "sallyport dev", allow_lockout: true })) as BundleRow;
  return { version: row.version, published: true };
}
