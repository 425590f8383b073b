/**
 * Gets a backend for one client: connects, logs in with the gateway's own startup packet, and checks what the reading
 * of SQL rests on. Gives up when nobody wants it any more.
 */
import type { Duplex } from "node:stream";
import { printIdentifier } from "../../../../policy/resource.ts";
import { sanitiseName, type ClientParameters } from "../client/parameters.ts";
import type { PostgresTargetConfig } from "../config.ts";
import { connectTarget, type ConnectOptions } from "./connect.ts";
import { login, type LoggedIn, type LoginOptions } from "./login.ts";

/** How to get to a target; the same for all its connections. */
export interface Reachable {
  readonly config: PostgresTargetConfig;
  readonly connect: Omit<ConnectOptions, "signal">;
  readonly login: Pick<LoginOptions, "user" | "methods" | "password" | "protocol">;
}

/** Random characters of the session's id in application_name, so that the target's own log leads to the recording. */
const SESSION_CHARACTERS = 8;

/** The startup packet that the target sees: ours, with the client's harmless settings (PG-08). */
export function targetParameters({ config }: Reachable, session: string, client: ClientParameters): [string, string][] {
  const id = session.replace(/^ses_/, "").slice(0, SESSION_CHARACTERS);
  return [
    ["database", config.database],
    ["client_encoding", "UTF8"],
    ["standard_conforming_strings", "on"],
    ["search_path", searchPath(config.search_path)],
    ["application_name", sanitiseName(`sallyport:${id} ${client.applicationName}`.trim())],
    ...client.settings,
  ];
}

/** Where it is not named, the server looks for relations in pg_temp before all others (PG-17, PG-44): it is named last. */
function searchPath(schemas: readonly string[]): string {
  const all = schemas.includes("pg_temp") ? schemas : [...schemas, "pg_temp"];
  return all.map(printIdentifier).join(", ");
}

export interface Backend extends LoggedIn {
  readonly socket: Duplex;
}

/**
 * Asks the server to look, while a statement runs, whether we are still there: when the agent dies, what it left running
 * is then cancelled instead of committed. Servers before 14, those on systems that cannot tell, and poolers refuse it;
 * a target that did is not asked again.
 */
const CONNECTION_CHECK = ["client_connection_check_interval", "2s"] as const;
const withoutCheck = new WeakSet<Reachable>();

export async function reach(
  target: Reachable,
  parameters: [string, string][],
  signal: AbortSignal,
): Promise<Backend | { readonly why: string }> {
  if (withoutCheck.has(target)) return attempt(target, parameters, signal);
  const backend = await attempt(target, [...parameters, [...CONNECTION_CHECK]], signal);
  if (!("why" in backend) || !backend.why.includes(CONNECTION_CHECK[0])) return backend;
  withoutCheck.add(target);
  return attempt(target, parameters, signal);
}

/** Connects and logs in. The error is for the log; where a secret could be in it, it is not. */
async function attempt(
  target: Reachable,
  parameters: [string, string][],
  signal: AbortSignal,
): Promise<Backend | { readonly why: string }> {
  const socket = await connectTarget({ ...target.connect, signal });
  if (!socket.ok) return { why: socket.error };
  try {
    const loggedIn = await login(socket.value, { ...target.login, parameters, signal });
    const drift = loggedIn.ok ? encodingProblem(loggedIn.value) : loggedIn.error;
    if (loggedIn.ok && drift === null) return { ...loggedIn.value, socket: socket.value };
    socket.value.destroy();
    return { why: drift ?? "" };
  } catch (error) {
    socket.value.destroy();
    return { why: `the credential could not be read: ${error instanceof Error ? error.message : String(error)}` };
  }
}

function encodingProblem({ status }: LoggedIn): string | null {
  const encoding = status.get("client_encoding");
  if (encoding !== "UTF8") return `the target uses client_encoding ${encoding ?? "(unreported)"}, not UTF8`;
  return status.get("standard_conforming_strings") === "on" ? null : "the target has standard_conforming_strings off";
}

/** A connection of the agent's own, for its own questions. Gives up after the target's `connect_s`. */
export async function reachForAgent(target: Reachable, purpose: string) {
  const parameters: [string, string][] = [
    ["database", target.config.database],
    ["client_encoding", "UTF8"],
    ["standard_conforming_strings", "on"],
    ["search_path", "pg_catalog, pg_temp"],
    ["application_name", sanitiseName(`sallyport:${purpose}`)],
  ];
  return await reach(target, parameters, AbortSignal.timeout(target.config.limits.connect_s * 1000));
}

/** Gives up when the session ends, the client leaves, or it takes too long. */
export async function reachWhileWanted(target: Reachable, parameters: [string, string][], client: Duplex, signal: AbortSignal) {
  const wanted = new AbortController();
  const giveUp = (): void => wanted.abort();
  const timer = setTimeout(giveUp, target.config.limits.connect_s * 1000);
  client.on("close", giveUp);
  signal.addEventListener("abort", giveUp, { once: true });
  if (signal.aborted || client.destroyed) giveUp();
  try {
    return await reach(target, parameters, wanted.signal);
  } finally {
    clearTimeout(timer);
    client.removeListener("close", giveUp);
    signal.removeEventListener("abort", giveUp);
  }
}
