/**
 * What the Postgres tests share: a gateway in front of a real server — the real target server behind a net.Server,
 * with a session whose policy is a function of the test and whose recorder keeps its events — and a raw client.
 */
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type AddressInfo, type Server } from "node:net";
import { pino } from "pino";
import type { PostgresServer } from "../../support/postgres.ts";
import type { Decision, MaskingRules, Resource } from "../../../policy/types.ts";
import { parseSessionId } from "../../../protocol/ids.ts";
import type { ClientAuth } from "../../../protocol/stream/control.ts";
import { createPostgresTarget, PostgresTargetConfig } from "../../../tunnel-agent/protocols/postgres/index.ts";
import { RecordingUnavailable, type EventOf, type SessionRecorder } from "../../../tunnel-agent/recording/recorder.ts";
import type { SessionApprovals, SessionPlan, SessionContext, SessionEndReason, TargetServer } from "../../../tunnel-agent/session.ts";
import { ScriptedApprovals } from "./hold/scripted.ts";

export const TARGET = "orders-db";

export type CommandEvent = Omit<EventOf<"command">, "command" | "bundle"> & { command: number };

/** Keeps every event in memory, in order. */
export class MemoryRecorder implements SessionRecorder {
  readonly commands: CommandEvent[] = [];
  readonly outcomes: EventOf<"outcome">[] = [];
  readonly opened: EventOf<"stream.open">[] = [];
  readonly closed: EventOf<"stream.close">[] = [];
  /** As when the disk is full. */
  unavailable = false;

  streamOpen(event: EventOf<"stream.open">): void {
    this.opened.push(event);
  }
  streamClose(event: EventOf<"stream.close">): void {
    this.closed.push(event);
  }
  command(event: Omit<EventOf<"command">, "command" | "bundle">): number {
    if (this.unavailable) throw new RecordingUnavailable("the disk is full");
    const command = this.commands.length + 1;
    this.commands.push({ ...event, command });
    return command;
  }
  outcome(event: EventOf<"outcome">): void {
    if (this.unavailable) throw new RecordingUnavailable("the disk is full");
    this.outcomes.push(event);
  }
  readonly approvals: EventOf<"approval">[] = [];
  readonly results: EventOf<"result">[] = [];
  approval(event: EventOf<"approval">): void {
    this.approvals.push(event);
  }
  result(event: EventOf<"result">): void {
    this.results.push(event);
  }
  clear(): void {
    this.commands.length = 0;
    this.outcomes.length = 0;
  }
  outcomeOf(text: RegExp): EventOf<"outcome"> | undefined {
    const command = this.commands.find((event) => text.test(event.text));
    return this.outcomes.find((event) => event.command === command?.command);
  }
}

/** `hold`: the group `dba` must consent. A whole decision: a hold on other terms, of one group. */
export type Rule = (action: string, resource: Resource) => Decision["outcome"] | Decision;

export interface Gateway {
  readonly port: number;
  readonly recorder: MemoryRecorder;
  readonly target: TargetServer;
  /** Changes the policy and its version, as a push does. */
  setRule(rule: Rule): void;
  /** The same for the data classes of the target. */
  setMasking(rules: MaskingRules): void;
  kill(reason: SessionEndReason): void;
  stop(): Promise<void>;
}

export interface GatewayOptions {
  readonly postgres?: PostgresServer;
  readonly rule?: Rule;
  readonly auth?: ClientAuth;
  /** Keys of the target's entry that differ from the tests' usual ones. */
  readonly config?: Record<string, unknown>;
  readonly password?: string;
  readonly maskText?: (text: string) => string;
  /** As `run --plan`. */
  readonly plan?: SessionPlan;
  readonly masking?: MaskingRules;
  /** Makes the target, where a test needs another than agent.yaml can say. */
  readonly create?: typeof createPostgresTarget;
  readonly approvals?: SessionApprovals;
}

export function decided(outcome: Decision["outcome"], what = ""): Decision {
  return {
    outcome,
    policies: [`test-${outcome}`],
    approvals: outcome === "hold" ? [{ group: "dba", min: 1 }] : [],
    reason: outcome === "allow" ? "allowed by the test" : `${what} is not allowed by the test`,
  };
}

function decideAll(rule: Rule, needs: readonly { action: string; resource: Resource }[], approvals: readonly string[]): Decision {
  let hold: Decision | null = null;
  for (const { action, resource } of needs) {
    const outcome = rule(action, resource);
    if (outcome === "deny") return decided("deny", action);
    if (typeof outcome === "object") hold = approvals.includes(outcome.approvals[0]?.group ?? "") ? null : outcome;
    else if (outcome === "hold" && !approvals.includes("dba")) hold = decided("hold", action);
  }
  return needs.length === 0 ? decided("deny", "nothing") : (hold ?? decided("allow"));
}

export function testSession(
  rule: Rule,
  options: {
    signal?: AbortSignal;
    maskText?: (text: string) => string;
    masking?: MaskingRules;
    approvals?: SessionApprovals;
    plan?: SessionPlan;
  } = {},
) {
  const recorder = new MemoryRecorder();
  let current = rule;
  let version = 1;
  let masking = options.masking ?? { classes: [] };
  const id = parseSessionId("ses_00000000000000000000000000");
  if (!id.ok) throw new Error(id.error);
  const session: SessionContext = {
    facts: {
      id: id.value,
      target: TARGET,
      identity: "release-bot",
      workload: { provider: "oidc", issuer: "https://issuer.test", subject: "job" },
      startedAt: 0,
      deadline: Number.MAX_SAFE_INTEGER,
    },
    recorder,
    approvals: options.approvals ?? new ScriptedApprovals(),
    plan: options.plan,
    masking: () => masking,
    maskingKey: Buffer.alloc(32, 7),
    decideAll: (needs, approvals = []) => decideAll(current, needs, approvals),
    policyVersion: () => version,
    signal: options.signal ?? new AbortController().signal,
    maskText: options.maskText ?? ((text) => text),
    digest: (bytes) => digestForTest(bytes),
    log: pino({ level: process.env["TEST_LOG"] ?? "silent" }),
    now: () => Date.now(),
    monotonic: () => performance.now(),
  };
  const setRule = (next: Rule): void => {
    current = next;
    version += 1;
  };
  const setMasking = (rules: MaskingRules): void => {
    masking = rules;
    version += 1;
  };
  return { session, recorder, setRule, setMasking };
}

const digestForTest = (bytes: Uint8Array | string): string => createHmac("sha256", "test").update(bytes).digest("hex");

export const allowAll: Rule = () => "allow";

/** Serves `orders-db` on a loopback port; each connection is one stream of one session. */
export async function startGateway(options: GatewayOptions = {}): Promise<Gateway> {
  const { postgres } = options;
  const controller = new AbortController();
  const mask = options.maskText === undefined ? {} : { maskText: options.maskText };
  const masking = options.masking === undefined ? {} : { masking: options.masking };
  const { session, recorder, setRule, setMasking } = testSession(options.rule ?? allowAll, {
    signal: controller.signal,
    ...mask,
    ...masking,
    ...(options.approvals === undefined ? {} : { approvals: options.approvals }),
    ...(options.plan === undefined ? {} : { plan: options.plan }),
  });
  const config = PostgresTargetConfig.parse({
    address: `127.0.0.1:${postgres?.port ?? 1}`,
    database: "postgres",
    user: postgres?.superuser.user ?? "nobody",
    password: "env:TEST",
    tls: "disable",
    ...options.config,
  });
  const target = await (options.create ?? createPostgresTarget)(config, {
    name: TARGET,
    log: session.log,
    resolvePath: (path) => path,
    credential: (reference) => ({ reference, read: () => Promise.resolve(options.password ?? postgres?.superuser.password ?? "") }),
  });
  let streamId = 0;
  const serving = new Set<Promise<void>>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    streamId += 1;
    socket.setNoDelay(true);
    const done = target.serve(socket, { streamId, auth: options.auth ?? { method: "trust" } }, session);
    serving.add(done);
    void done.finally(() => serving.delete(done));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    recorder,
    target,
    setRule,
    setMasking,
    kill: (reason) => controller.abort(reason),
    async stop() {
      controller.abort({ code: "session_closed", message: "test over" } satisfies SessionEndReason);
      server.close();
      await Promise.all(serving);
    },
  };
}
