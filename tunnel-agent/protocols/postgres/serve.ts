/**
 * One client connection from its first byte to its last: let in, log in at the target, hand both to the machine,
 * close. Everything that goes wrong on the way becomes one sentence for the client and one line in the log.
 */
import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { printIdentifier } from "../../../policy/resource.ts";
import type { SessionContext, SessionEndReason, StreamOpen } from "../../session.ts";
import type { AnalysisCache } from "./analysis.ts";
import { admit, fatalBytes } from "./client/admit.ts";
import { sanitiseName, type ClientParameters } from "./client/parameters.ts";
import { ClientStartup } from "./client/startup.ts";
import { writeBackendKeyData, writeParameterStatus, writeReadyForQuery } from "./codec/backend.ts";
import { single } from "./codec/writer.ts";
import type { PostgresTargetConfig } from "./config.ts";
import type { CancelKeys } from "./keys.ts";
import { mayReport } from "./output.ts";
import { SQLSTATE, type Refusal } from "./refusal.ts";
import { Relay } from "./relay.ts";
import { SessionMachine } from "./session/machine.ts";
import { cancelAtTarget } from "./target/cancel.ts";
import { connectTarget, type ConnectOptions } from "./target/connect.ts";
import { login, type LoggedIn, type LoginOptions } from "./target/login.ts";

/** What does not change from one connection to the next. */
export interface ServedTarget {
  readonly name: string;
  readonly config: PostgresTargetConfig;
  readonly connect: Omit<ConnectOptions, "signal">;
  readonly login: Pick<LoginOptions, "user" | "methods" | "password" | "protocol">;
  readonly analysis: AnalysisCache;
  readonly keys: CancelKeys;
}

/** Random characters of the session's id in application_name, so that the target's own log leads to the recording. */
const SESSION_CHARACTERS = 8;

/** The startup packet that the target sees: ours, with the client's harmless settings (PG-08). */
function targetParameters(target: ServedTarget, session: SessionContext, client: ClientParameters): [string, string][] {
  const { config } = target;
  const id = session.facts.id.replace(/^ses_/, "").slice(0, SESSION_CHARACTERS);
  return [
    ["database", config.database],
    ["client_encoding", "UTF8"],
    ["standard_conforming_strings", "on"],
    ["search_path", config.search_path.map(printIdentifier).join(", ")],
    ["application_name", sanitiseName(`sallyport:${id} ${client.applicationName}`.trim())],
    ...client.settings,
  ];
}

const unreachable: Refusal = {
  code: SQLSTATE.sqlclient_unable_to_establish_sqlconnection,
  message: "sallyport: the target could not be reached, or did not accept the agent",
  hint: "The agent's log says why.",
};

function shutdown(signal: AbortSignal): Refusal {
  const reason = signal.reason as Partial<SessionEndReason> | undefined;
  return { code: SQLSTATE.admin_shutdown, message: `sallyport: ${reason?.message ?? "the session ended"}`, detail: reason?.code };
}

interface Backend extends LoggedIn {
  readonly socket: Duplex;
}

/** Connects and logs in. The error is for the log; where a secret could be in it, it is not. */
async function reach(
  target: ServedTarget,
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

/** The greeting after AuthenticationOk: what the target reports of itself, our key, ready. */
function greeting(backend: LoggedIn, client: ClientParameters, key: { readonly pid: number; readonly key: Buffer }): Buffer {
  return single((writer) => {
    for (const [name, value] of backend.status) if (mayReport(name, value)) writeParameterStatus(writer, name, value);
    writeParameterStatus(writer, "application_name", client.applicationName);
    writeBackendKeyData(writer, key.pid, key.key);
    writeReadyForQuery(writer, "I");
  });
}

export async function serveConnection(target: ServedTarget, client: Duplex, open: StreamOpen, session: SessionContext): Promise<void> {
  const log = session.log.child({ stream: open.streamId });
  client.on("error", (error) => log.debug({ error: error.message }, "client connection failed"));
  const admission = await admit(client, new ClientStartup(open.auth, target.config.database), session.signal, () =>
    shutdown(session.signal),
  );
  switch (admission.type) {
    case "cancel":
      target.keys.cancel(session.facts.id, admission.pid, admission.key);
      client.end();
      return;
    case "refused":
      if (admission.refusal !== undefined) log.info({ code: admission.refusal.code }, `client refused: ${admission.refusal.message}`);
      client.end();
      return;
    case "ready":
      await serveAdmitted(target, client, open, session, admission);
  }
}

async function serveAdmitted(
  target: ServedTarget,
  client: Duplex,
  open: StreamOpen,
  session: SessionContext,
  admission: { readonly parameters: ClientParameters; readonly minor: number; readonly rest: Buffer },
): Promise<void> {
  const { parameters } = admission;
  const stream = open.streamId;
  session.recorder.streamOpen({
    stream,
    user: session.maskText(parameters.user),
    application: session.maskText(parameters.applicationName),
  });
  let reason = "";
  let [bytesIn, bytesOut] = [0, 0];
  try {
    const backend = await reachWhileWanted(target, targetParameters(target, session, parameters), client, session.signal);
    if ("why" in backend) {
      session.log.warn({ stream, target: target.name }, `target not reached: ${session.maskText(backend.why)}`);
      const refusal = session.signal.aborted ? shutdown(session.signal) : unreachable;
      client.end(fatalBytes(refusal));
      reason = refusal.message;
      return;
    }
    const relay = makeRelay(target, client, open, session, backend);
    const key = target.keys.issue(session.facts.id, admission.minor, () => relay.cancel());
    try {
      client.write(greeting(backend, parameters, key));
      reason = await relay.run(admission.rest, backend.rest);
    } finally {
      key.release();
      [bytesIn, bytesOut] = [relay.bytesIn, relay.bytesOut];
    }
  } finally {
    session.recorder.streamClose({ stream, bytes_in: bytesIn, bytes_out: bytesOut, ...(reason === "" ? {} : { reason }) });
  }
}

/** Gives up when the session ends, the client leaves, or it takes too long. */
async function reachWhileWanted(target: ServedTarget, parameters: [string, string][], client: Duplex, signal: AbortSignal) {
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

/** `18` of `18.4 (Debian …)`; undefined for what does not look like a version. */
function serverMajor({ status }: LoggedIn): number | undefined {
  const match = /^[0-9]{1,3}/.exec(status.get("server_version") ?? "");
  return match === null ? undefined : Number(match[0]);
}

function makeRelay(target: ServedTarget, client: Duplex, open: StreamOpen, session: SessionContext, backend: Backend) {
  const { config } = target;
  const major = serverMajor(backend);
  const machine = new SessionMachine({
    session,
    streamId: open.streamId,
    target: target.name,
    user: config.user,
    searchPath: config.search_path,
    limits: config.limits,
    analyse: (sql) => target.analysis.analyse(sql, major),
    poison: `sallyport refused ${randomBytes(12).toString("hex")}`,
  });
  const cancel = async (): Promise<void> => {
    const done = await cancelAtTarget(target.connect, backend);
    if (!done.ok) session.log.warn({ stream: open.streamId }, done.error);
  };
  const relay = new Relay({
    client,
    target: backend.socket,
    machine,
    monotonic: () => session.monotonic(),
    cancel,
    failed: (error) => session.log.error({ stream: open.streamId, err: error }, "fault in the session machine"),
  });
  const onAbort = (): void => relay.do(() => machine.abort(shutdown(session.signal)));
  return {
    cancel: () => relay.do(() => machine.cancel()),
    get bytesIn() {
      return relay.bytesIn;
    },
    get bytesOut() {
      return relay.bytesOut;
    },
    async run(fromClient: Buffer, fromTarget: Buffer): Promise<string> {
      const ended = relay.run({ client: fromClient, target: fromTarget });
      if (session.signal.aborted) onAbort();
      else session.signal.addEventListener("abort", onAbort, { once: true });
      try {
        return await ended;
      } finally {
        session.signal.removeEventListener("abort", onAbort);
      }
    },
  };
}
