/**
 * What `doctor` looks at, in the order in which things must work: the address, the network, the clock, the token's
 * source, the token, the identity, the targets, and of each target named what its agent may do there. Each finding says what is so and what to do; one failure skips
 * what depends on it.
 */
import { Health, page, TargetRow, Whoami } from "../../protocol/api.ts";
import { MAX_CLOCK_SKEW_S } from "../../protocol/limits.ts";
import { CommandFailed } from "../exit.ts";
import { ask, GatewayRefused, jsonOf } from "../ask.ts";
import { audienceOf, gatewayAddress, openGateway, type GatewayClient } from "../gateway.ts";
import type { HttpAnswer } from "../http.ts";
import { findTokenSource } from "../identity/source.ts";
import { TokenUnavailable, type Environment } from "../identity/types.ts";
import type { Reporter } from "../reporter.ts";
import { HeldCommands } from "../tunnel/held.ts";
import { openSession } from "../tunnel/target.ts";
import type { Finding } from "./finding.ts";
import { examinePosture } from "./posture.ts";
import { readToken } from "./token.ts";

export interface DoctorOptions {
  readonly gateway: string | undefined;
  /** Targets to open a session to, for real. */
  readonly targets: readonly string[];
  readonly env: Environment;
  /** ms since the epoch. */
  readonly now: () => number;
  readonly report: Reporter;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Yields findings as they are made. */
export async function* examine(options: DoctorOptions): AsyncGenerator<Finding> {
  const { env, now } = options;
  let origin: string;
  try {
    origin = gatewayAddress(options.gateway, env);
  } catch (error) {
    yield { check: "gateway", status: "fail", message: messageOf(error) };
    return;
  }
  const reached = await reach(origin, now);
  yield* reached.findings;
  let source: ReturnType<typeof findTokenSource>;
  let token: string;
  try {
    source = findTokenSource(env);
    token = await source.fetch(audienceOf(origin, env));
  } catch (error) {
    if (!(error instanceof TokenUnavailable)) throw error;
    yield { check: "token source", status: "fail", message: error.message };
    return;
  }
  const renewal = source.mintable ? "a new one can be had at any time" : "it is exchanged once, and the credential kept for the job";
  yield { check: "token source", status: "ok", message: `${source.name}; ${renewal}` };
  yield* readToken(token, audienceOf(origin, env), now() + reached.skew);
  if (!reached.ok) {
    yield { check: "identity", status: "skip", message: "not asked: the gateway cannot be reached" };
    return;
  }
  const gateway = openGateway(origin, env);
  const identity = await identify(gateway);
  yield identity;
  if (identity.status === "fail") return;
  yield* listed(gateway, options.targets);
  for (const target of options.targets) {
    yield await tryTarget(gateway, target, options.report);
    yield* examinePosture(gateway, target);
  }
}

interface Reached {
  readonly ok: boolean;
  /** The gateway's clock minus ours, ms; 0 where unknown. */
  readonly skew: number;
  readonly findings: readonly Finding[];
}

async function reach(origin: string, now: () => number): Promise<Reached> {
  const began = now();
  let answer: HttpAnswer;
  try {
    answer = await ask(new URL("/v1/healthz", origin));
  } catch (error) {
    return { ok: false, skew: 0, findings: [{ check: "gateway", status: "fail", message: messageOf(error) }] };
  }
  const health = Health.safeParse(jsonOf(await answer.text().catch(() => "")));
  const ended = now();
  if (!answer.ok || !health.success) {
    const message = `${origin} answered ${answer.status}, but not as a Sallyport gateway does: check the address`;
    return { ok: false, skew: 0, findings: [{ check: "gateway", status: "fail", message }] };
  }
  const findings: Finding[] = [{ check: "gateway", status: "ok", message: `${origin} answers in ${ended - began} ms` }];
  // Its reading is somewhere between our two.
  const skew = health.data.now - (began + ended) / 2;
  const seconds = Math.round(Math.abs(skew) / 1000);
  if (seconds > MAX_CLOCK_SKEW_S) {
    const way = skew > 0 ? "behind" : "ahead of";
    findings.push({
      check: "clock",
      status: "fail",
      message: `this machine's clock is ${seconds} s ${way} the gateway's: proofs will be refused; set it by NTP`,
    });
  } else findings.push({ check: "clock", status: "ok", message: `this machine's clock agrees with the gateway's within ${seconds + 1} s` });
  return { ok: true, skew, findings };
}

async function identify(gateway: GatewayClient): Promise<Finding> {
  try {
    const { identity, owner, bundle } = await gateway.request("/v1/whoami", Whoami);
    return { check: "identity", status: "ok", message: `the gateway knows this job as ${identity} (owner ${owner}), by bundle ${bundle}` };
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    return { check: "identity", status: "fail", message: `${error.message}${adviceFor(error)}` };
  }
}

function adviceFor(error: CommandFailed): string {
  if (!(error instanceof GatewayRefused)) return "";
  switch (error.problem.code) {
    case "identity_unmatched":
      return "\nCompare the claims above with `match:` in the bundle's identities/*.yaml: every claim of one entry must be equal.";
    case "token_invalid":
      return "\nThe issuer and the audience must be those of the bundle's gateway.yaml. An administrator sees the reason: sallyport refusals --ref REFERENCE";
    case "token_replayed":
      return "\nThe token was used by another process. Let one step use it, or share SALLYPORT's runtime directory between the job's steps.";
    case "no_bundle":
      return "\nNothing is allowed until an administrator pushes a bundle.";
    default:
      return "";
  }
}

async function* listed(gateway: GatewayClient, wanted: readonly string[]): AsyncGenerator<Finding> {
  const { rows } = await gateway.request("/v1/targets", page(TargetRow));
  if (rows.length === 0) {
    yield { check: "targets", status: "warn", message: "this identity may connect to no target: grant it one in identities/*.yaml" };
  }
  for (const row of rows) {
    const may = row.connect === "allow" ? "may connect" : row.connect === "hold" ? "may connect with an approval" : "may not connect";
    const online = row.online ? "online" : "offline: no agent of its site is connected";
    yield {
      check: `target ${row.name}`,
      status: row.online && row.connect === "allow" ? "ok" : "warn",
      message: `${row.protocol} at ${row.site}, ${online}; ${may}`,
    };
  }
  for (const name of wanted) {
    if (!rows.some((row) => row.name === name)) {
      yield { check: `target ${name}`, status: "warn", message: "not among this identity's targets: check its name and grants" };
    }
  }
}

/** All the way to the agent and back. */
async function tryTarget(gateway: GatewayClient, target: string, report: Reporter): Promise<Finding> {
  const check = `session ${target}`;
  try {
    const session = await openSession(gateway, target, report, { hold: undefined, held: new HeldCommands(report) });
    await session.close();
    return { check, status: "ok", message: `session ${session.id} was opened and closed` };
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    return { check, status: "fail", message: error.message };
  }
}
