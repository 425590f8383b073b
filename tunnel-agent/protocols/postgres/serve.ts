/**
 * One client connection from its first byte to its last: let in, log in at the target, hand both to the machine,
 * close. Everything that goes wrong on the way becomes one sentence for the client and one line in the log.
 */
import type { Duplex } from "node:stream";
import { RecordingUnavailable } from "../../recording/recorder.ts";
import type { SessionContext, SessionEndReason, StreamOpen } from "../../session.ts";
import { admit, fatalBytes, type Admission } from "./client/admit.ts";
import type { ClientParameters } from "./client/parameters.ts";
import { ClientStartup } from "./client/startup.ts";
import { writeBackendKeyData, writeParameterStatus, writeReadyForQuery } from "./codec/backend.ts";
import { single } from "./codec/writer.ts";
import type { CancelKeys } from "./keys.ts";
import { mayReport } from "./output.ts";
import { notRecorded, SQLSTATE, type Refusal } from "./refusal.ts";
import { makeLane, type LaneTarget } from "./lane.ts";
import { attachClient } from "./relay.ts";
import { twoLogins, type ClassifiedLogin } from "./split-serve.ts";
import type { LoggedIn } from "./target/login.ts";
import { reachWhileWanted, targetParameters, type Backend } from "./target/reach.ts";

/** What does not change from one connection to the next. */
export interface ServedTarget extends LaneTarget {
  readonly keys: CancelKeys;
  /** The login that may read classified columns, where there is one of its own. */
  readonly classified: ClassifiedLogin | null;
  /** Connections that are not let in yet, by session. */
  readonly admitting: Map<string, number>;
}

/** Connections of one session that may be in their handshake at once (PG-02). */
const MAX_ADMITTING = 32;

const unreachable: Refusal = {
  code: SQLSTATE.sqlclient_unable_to_establish_sqlconnection,
  message: "sallyport: the target could not be reached, or did not accept the agent",
  hint: "The agent's log says why.",
};

const tooMany: Refusal = {
  code: SQLSTATE.too_many_connections,
  message: "sallyport: too many connections of this session are still logging in",
};

function shutdown(signal: AbortSignal): Refusal {
  const reason = signal.reason as Partial<SessionEndReason> | undefined;
  return { code: SQLSTATE.admin_shutdown, message: `sallyport: ${reason?.message ?? "the session ended"}`, detail: reason?.code };
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
  const admission = await admitCounted(target, client, open, session);
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

async function admitCounted(target: ServedTarget, client: Duplex, open: StreamOpen, session: SessionContext): Promise<Admission> {
  const { id } = session.facts;
  const before = target.admitting.get(id) ?? 0;
  if (before >= MAX_ADMITTING) {
    client.write(fatalBytes(tooMany));
    return { type: "refused", refusal: tooMany };
  }
  target.admitting.set(id, before + 1);
  try {
    return await admit(client, new ClientStartup(open.auth, target.config.database), session.signal, () => shutdown(session.signal));
  } finally {
    const now = (target.admitting.get(id) ?? 1) - 1;
    if (now === 0) target.admitting.delete(id);
    else target.admitting.set(id, now);
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
  try {
    const [user, application] = [session.maskText(parameters.user), session.maskText(parameters.applicationName)];
    session.recorder.streamOpen({ stream, user, application });
  } catch (error) {
    if (!(error instanceof RecordingUnavailable)) throw error;
    client.end(fatalBytes(notRecorded));
    return;
  }
  let reason = "";
  let [bytesIn, bytesOut] = [0, 0];
  try {
    const backend = await reachWhileWanted(target, targetParameters(target, session.facts.id, parameters), client, session.signal);
    if ("why" in backend) {
      session.log.warn({ stream, target: target.name }, `target not reached: ${session.maskText(backend.why)}`);
      const refusal = session.signal.aborted ? shutdown(session.signal) : unreachable;
      client.end(fatalBytes(refusal));
      reason = refusal.message;
      return;
    }
    warnOfSuperuser(target, session, backend);
    const conversation =
      target.classified === null
        ? oneLogin(target, client, open, session, backend)
        : twoLogins(target, target.classified, { client, stream: open.streamId, session, backend, parameters });
    const key = target.keys.issue(session.facts.id, admission.minor, () => conversation.cancel());
    try {
      client.write(greeting(backend, parameters, key));
      reason = await converse(conversation, admission.rest, session.signal);
    } finally {
      key.release();
      [bytesIn, bytesOut] = [conversation.bytesIn, conversation.bytesOut];
    }
  } finally {
    recordClose(session, { stream, bytes_in: bytesIn, bytes_out: bytesOut, ...(reason === "" ? {} : { reason }) });
  }
}

const warned = new WeakSet<ServedTarget>();

/** Once per start and target: policy and masks mean little when the login itself may do everything (`sallyport doctor TARGET` fails). */
function warnOfSuperuser(target: ServedTarget, session: SessionContext, { status }: LoggedIn): void {
  if (status.get("is_superuser") !== "on" || warned.has(target)) return;
  warned.add(target);
  session.log.warn(
    { target: target.name },
    "the agent's login is superuser at the target: give it one that is not (sallyport doctor --sql)",
  );
}

/** There is nobody left to tell when this cannot be recorded but the log. */
function recordClose(session: SessionContext, event: Parameters<SessionContext["recorder"]["streamClose"]>[0]): void {
  try {
    session.recorder.streamClose(event);
  } catch (error) {
    if (!(error instanceof RecordingUnavailable)) throw error;
    session.log.error({ stream: event.stream }, "the end of a stream could not be recorded");
  }
}

/** A client's connection with both sides open. */
interface Conversation {
  readonly bytesIn: number;
  readonly bytesOut: number;
  cancel(): void;
  abort(refusal: Refusal): void;
  /** `first`: bytes of the client that were read before. Resolves with why it ended. */
  run(first: Buffer): Promise<string>;
}

function oneLogin(target: ServedTarget, client: Duplex, open: StreamOpen, session: SessionContext, backend: Backend): Conversation {
  const { relay, machine, rest } = makeLane({ target, reach: target, client, stream: open.streamId, session, backend });
  return {
    get bytesIn() {
      return relay.bytesIn;
    },
    get bytesOut() {
      return relay.bytesOut;
    },
    cancel: () => relay.do(() => machine.cancel()),
    abort: (refusal) => relay.do(() => machine.abort(refusal)),
    run: (first) => {
      const ended = relay.run(rest);
      attachClient(client, relay, first);
      return ended;
    },
  };
}

async function converse(conversation: Conversation, first: Buffer, signal: AbortSignal): Promise<string> {
  const ended = conversation.run(first);
  const onAbort = (): void => conversation.abort(shutdown(signal));
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await ended;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
