/**
 * The agent, put together: state, credentials, targets, spool, policy, uplink, sessions, health. `startAgent` gives a
 * running one; what it reads of the world (configuration, protocols, environment, where the log goes) is an argument,
 * so that a bench can add a protocol and a test can read everything it emits.
 *
 * Start order matters: earlier recordings are closed and offered for upload before a new session can begin.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { resolve } from "node:path";
import type { DestinationStream, Logger } from "pino";
import type { SessionEnd } from "../link/types.ts";
import type { BundleFiles, TargetAnnouncement } from "../protocol/agent-control.ts";
import { compileBundle } from "../policy/cedar.node.ts";
import type { CompileBundle } from "../policy/types.ts";
import { Approvals } from "./approvals.ts";
import { printProblem, type AgentConfig, type ConfigProblem, type Protocols } from "./config/load.ts";
import { Redactor } from "./credentials/redactor.ts";
import { CredentialStore } from "./credentials/store.ts";
import { serveHealth, type Health, type HealthServer } from "./health.ts";
import { createLog } from "./log.ts";
import { maskText } from "./masking/detectors.ts";
import { createMetrics } from "./metrics.ts";
import { PolicyHolder } from "./policy-holder.ts";
import { Questions } from "./questions.ts";
import { recover } from "./recording/recover.ts";
import { RecordingUnavailable } from "./recording/recorder.ts";
import { Spool } from "./recording/spool.ts";
import { Uploader } from "./recording/uploader.ts";
import { Sessions, type ServedTarget } from "./sessions.ts";
import { StateDirectory } from "./state/directory.ts";
import { openIdentity, type AgentIdentity } from "./state/identity.ts";
import { createGateway } from "./uplink/gateway.ts";
import { Uplink } from "./uplink/uplink.ts";

export interface AgentOptions {
  readonly config: AgentConfig;
  readonly protocols: Protocols;
  /** For `env:` credentials and `exec:` commands. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where log lines go. */
  readonly log: DestinationStream;
  /** The product's version. */
  readonly version: string;
}

export interface RunningAgent {
  readonly agent: string;
  readonly site: string;
  /** host:port of /healthz and /metrics. */
  readonly health: string;
  /** The gateway has welcomed this agent for the first time. */
  readonly ready: Promise<void>;
  /** Resolves when the gateway sends the agent away for good (revoked, or replaced by another process). */
  readonly dismissed: Promise<SessionEnd>;
  readonly log: Logger;
  /**
   * Drains and stops: no new sessions; live ones get `graceMs` to end by themselves (default: drain_grace_s; aborting
   * `now` cuts it short), then are ended with agent_draining; recordings are sealed and uploaded as far as the gateway
   * takes them within a few seconds, the rest stays in the spool. Calling it again changes nothing.
   */
  stop(options?: { readonly graceMs?: number; readonly now?: AbortSignal }): Promise<void>;
}

/** An agent that cannot start, with what to do about it. */
export class AgentStartError extends Error {
  override name = "AgentStartError";
}

const FINAL_UPLOAD_MS = 5_000;
const monotonic = (): number => performance.now();
const now = (): number => Date.now();

/** @throws AgentStartError, StateError, EnrolmentFailed, CredentialUnavailable: messages for an operator, without secrets. */
export async function startAgent(options: AgentOptions): Promise<RunningAgent> {
  const { config, env } = options;
  const redactor = new Redactor();
  const log = createLog({ level: config.log_level, redactor, destination: options.log });
  const state = StateDirectory.open(config.state_dir);
  try {
    const credentials = new CredentialStore({ env, directory: config.directory, redactor, log, monotonic });
    const compile = withFloor(config);
    const gateway = new URL(config.gateway).origin;
    const token = config.enrolment_token === undefined ? undefined : credentials.credential(config.enrolment_token);
    const name = config.name ?? hostName();
    const identity = await openIdentity(state, { gateway, name, token: token && (() => token.read()), now });
    if (config.site !== undefined && config.site !== identity.site) {
      throw new AgentStartError(
        `agent.yaml says site ${config.site}, but this agent is enrolled for ${identity.site}: correct it, or enrol anew with another state_dir`,
      );
    }
    const targets = await makeTargets(options, credentials, log);
    const maskingKey = await readMaskingKey(config, credentials, identity);
    return await run({ ...options, state, redactor, log, identity, gateway, compile, targets, maskingKey });
  } catch (error) {
    state.close();
    throw error;
  }
}

const MIN_MASKING_KEY = 32;

/** The site's, so that its agents mask equal values alike; else this agent's own. */
async function readMaskingKey(config: AgentConfig, credentials: CredentialStore, identity: AgentIdentity): Promise<Uint8Array> {
  if (config.masking_key === undefined) return identity.maskingKey;
  const text = await credentials.credential(config.masking_key).read();
  if (text.length >= MIN_MASKING_KEY) return createHash("sha256").update(`sallyport masking key v1\n${text}`).digest();
  throw new AgentStartError(
    `masking_key ${config.masking_key} has fewer than ${MIN_MASKING_KEY} characters: make one with \`openssl rand -hex 32\``,
  );
}

/** This machine's name as an agent's name. */
function hostName(): string {
  const text = hostname()
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]/g, "-")
    .slice(0, 63)
    .replaceAll(/^[._-]+|[._-]+$/g, "");
  return text === "" ? "agent" : text;
}

/** The compiler with this site's floor in it. @throws AgentStartError for a floor that is not one. */
function withFloor(config: AgentConfig): CompileBundle {
  if (config.policy_floor === undefined) {
    // Loads the engine now, so that the first bundle decides without that delay.
    compileBundle({});
    return compileBundle;
  }
  let text: string;
  try {
    text = readFileSync(resolve(config.directory, config.policy_floor), "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    throw new AgentStartError(`policy_floor ${config.policy_floor} cannot be read: ${code}`);
  }
  const floor: BundleFiles = { [config.policy_floor]: text };
  const checked = compileBundle({}, floor);
  // No bundle is there to go with it yet: only what is wrong with the floor itself counts.
  const own = checked.ok ? [] : checked.error.filter((problem) => problem.file === config.policy_floor && problem.severity === "error");
  const problems = own.map(({ file, line = 1, column = 1, message }): ConfigProblem => ({ file, line, column, message }));
  if (problems.length > 0) throw new AgentStartError(problems.map(printProblem).join("\n"));
  return (files) => compileBundle(files, floor);
}

async function makeTargets(
  { config, protocols }: AgentOptions,
  credentials: CredentialStore,
  log: Logger,
): Promise<ReadonlyMap<string, ServedTarget>> {
  const targets = new Map<string, ServedTarget>();
  for (const { name, protocol, environment, labels, config: own } of config.targets) {
    const room = protocols[protocol];
    if (room === undefined) throw new AgentStartError(`target ${name}: no protocol ${protocol}`);
    const server = await room.create(own, {
      name,
      credential: (reference) => credentials.credential(reference),
      resolvePath: (path) => resolve(config.directory, path),
      log: log.child({ target: name }),
    });
    const announcement = { name, protocol, environment, labels: [...labels], database: server.ready.database } as TargetAnnouncement;
    targets.set(name, { announcement, server });
  }
  return targets;
}

interface Parts extends Omit<AgentOptions, "log"> {
  readonly state: StateDirectory;
  readonly redactor: Redactor;
  readonly log: Logger;
  readonly identity: AgentIdentity;
  readonly gateway: string;
  readonly compile: CompileBundle;
  readonly targets: ReadonlyMap<string, ServedTarget>;
  readonly maskingKey: Uint8Array;
}

async function run(parts: Parts): Promise<RunningAgent> {
  const { config, state, redactor, log, identity, targets, version } = parts;
  const gateway = createGateway(parts.gateway, identity);
  const spool = new Spool({ directory: state.file("spool"), maxBytes: config.recording.spool_max, fsync: config.recording.fsync });
  let draining = false;
  const read = (): Health => {
    const standing = policy.standing();
    return {
      sessions: sessions.size,
      connected: uplink.connected,
      dials: uplink.dials,
      policyVersion: policy.version,
      policyAge: policy.age / 1000,
      policyReason: standing.kind === "none" ? standing.reason : undefined,
      spoolBytes: spool.bytes,
      spoolMax: spool.maxBytes,
      backlog: uploader.backlog,
      draining,
    };
  };
  const metrics = createMetrics(read);
  const uploader = new Uploader({ spool, put: gateway.put, log, random: Math.random, onResult: (result) => metrics.upload(result) });
  const policy = new PolicyHolder({
    state,
    compile: parts.compile,
    now,
    monotonic,
    onApplied: (bundle) => sessions.policyChanged(bundle),
    onNotKept: (reason) => log.error({ reason }, "the bundle could not be kept for a restart"),
  });
  const questions = new Questions({ targets, policy, maskText, log, now });
  const ready = signal<void>();
  const dismissed = signal<SessionEnd>();
  const uplink = new Uplink({
    gateway: parts.gateway,
    headers: gateway.headers,
    log,
    random: Math.random,
    version,
    site: identity.site,
    policy,
    now,
    monotonic,
    targets: [...targets.values()].map((target) => target.announcement),
    sessions: () => sessions.ids(),
    onDispatch: (dispatch) => void sessions.dispatch(dispatch),
    onAsk: (ask) => questions.answer(ask),
    onKill: (session, end) => sessions.kill(session, end),
    onBye: (end) => dismissed.resolve(end),
    onWelcome: () => {
      uploader.retryNow();
      approvals.welcomed();
      ready.resolve();
    },
    onApproval: (message) => approvals.receive(message),
  });
  const approvals = new Approvals({
    gateway: parts.gateway,
    line: uplink,
    random: (bytes) => crypto.getRandomValues(bytes),
    gatewayNow: () => uplink.gatewayNow(),
    now,
    bundle: () => policy.version,
    log,
  });
  const sessions = new Sessions({
    identity,
    targets,
    policy,
    spool,
    log,
    now,
    monotonic,
    stats: metrics,
    dial: gateway.dial,
    gatewayNow: () => uplink.gatewayNow(),
    approvals,
    maskText,
    maskingKey: parts.maskingKey,
    redact: (json) => redactor.redact(json),
    onSegment: (segment) => uploader.add(segment),
    onEnded: (session, end) => uplink.ended(session, end),
    onRefused: (session, end) => uplink.refused(session, end),
  });
  const health = await serveHealth(config.health.listen, read, metrics);
  closeEarlierRecordings(spool, identity, uploader, uplink, log);
  uplink.start();
  log.info(
    { agent: identity.agent, site: identity.site, gateway: parts.gateway, targets: [...targets.keys()], health: health.address, version },
    "agent started",
  );

  let stopped: Promise<void> | undefined;
  const stop = async (graceMs: number, hurry: AbortSignal): Promise<void> => {
    draining = true;
    log.info({ sessions: sessions.size, grace_ms: graceMs }, "draining");
    sessions.drain();
    uplink.draining();
    await sessions.empty(graceMs, hurry);
    await sessions.endAll({ code: "agent_draining", message: "The agent is shutting down." });
    await uploader.drain(hurry.aborted ? 1_000 : FINAL_UPLOAD_MS);
    await uplink.flush(1_000);
    await shutDown(uplink, uploader, policy, health);
    log.info({ backlog_segments: uploader.backlog.segments }, "agent stopped");
    state.close();
  };
  return {
    agent: identity.agent,
    site: identity.site,
    health: health.address,
    ready: ready.promise,
    dismissed: dismissed.promise,
    log,
    stop: ({ graceMs = config.drain_grace_s * 1000, now: hurry = new AbortController().signal } = {}) => (stopped ??= stop(graceMs, hurry)),
  };
}

async function shutDown(uplink: Uplink, uploader: Uploader, policy: PolicyHolder, health: HealthServer): Promise<void> {
  uplink.stop();
  uploader.stop();
  policy.save();
  await health.close();
}

/** Spool files of an earlier process: closed honestly, offered for upload, and their ends told to the gateway. */
function closeEarlierRecordings(spool: Spool, identity: AgentIdentity, uploader: Uploader, uplink: Uplink, log: Logger): void {
  for (const session of spool.sessions()) {
    try {
      const found = recover(spool, session, { agent: identity.agent, sign: identity.sign, now });
      if (found === null) continue;
      if (found.damaged > 0)
        log.error({ session, bytes: found.damaged }, "a spool file was changed on disk: the file as found is kept beside it as .damaged");
      if (found.repaired) log.warn({ session }, "closed a recording that an earlier process left open");
      uplink.ended(session, found.end);
      for (const segment of found.segments) uploader.add(segment);
    } catch (error) {
      if (!(error instanceof RecordingUnavailable)) throw error;
      log.error({ session, reason: error.message }, "an earlier recording could not be closed; the next start tries again");
    }
  }
}

function signal<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
