/**
 * One target within reach: a session through the gateway, and a listener on loopback whose connections become its
 * streams. The listener lets anyone on the machine knock, and nobody in without the run's password, which the agent
 * checks (GW-29). It closes with the session.
 */
import { randomBytes } from "node:crypto";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { connectSession, type ConnectorSession } from "../../link/connector.ts";
import type { LinkStream, SessionEnd } from "../../link/types.ts";
import { HOLD_HEADER, PLAN_HEADER } from "../../protocol/connect.ts";
import type { ClientAuth } from "../../protocol/stream/control.ts";
import { CommandFailed, EXIT, exitOf } from "../exit.ts";
import { sentenceOf } from "../ask.ts";
import type { GatewayClient } from "../gateway.ts";
import type { Reporter } from "../reporter.ts";
import type { HeldCommands, HoldMode } from "./held.ts";
import { joinDuplexes } from "./join.ts";
import { makeClientSecret } from "./scram.ts";
import { ERRORS } from "../../protocol/errors.ts";

/** Loopback by address: `localhost` may be two addresses, or a line in somebody's hosts file. */
const LOOPBACK = "127.0.0.1";
/** What no environment variable, file of variables or connection string should hold. */
const UNPRINTABLE = /[\u0000-\u001f\u007f]/;
/** How long streams may take to finish once their clients are gone, ms. */
const DRAIN_MS = 1_000;
/** How long clients may take to read what a session's end left for them, ms. */
const LAST_WORDS_MS = 2_000;

/** What a client needs to reach a target. */
export interface TargetAddress {
  readonly target: string;
  readonly protocol: string;
  readonly session: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string | undefined;
}

export interface OpenTarget {
  readonly address: TargetAddress;
  readonly ended: Promise<SessionEnd>;
  /** Lets streams finish, then ends the session and the listener. */
  close(): Promise<void>;
}

/** What a run wants of its sessions. */
export interface SessionWishes {
  /** What happens to commands that need an approval; undefined: as the identity's declaration says. */
  readonly hold: HoldMode | undefined;
  readonly held: HeldCommands;
  /** Run only what this plan holds. */
  readonly plan?: string | undefined;
}

/** Connects to a target. @throws CommandFailed */
export async function openSession(
  gateway: GatewayClient,
  target: string,
  report: Reporter,
  { hold, held, plan }: SessionWishes,
): Promise<ConnectorSession> {
  const url = new URL(`/v1/targets/${encodeURIComponent(target)}/connect`, gateway.origin);
  const connected = await connectSession({
    url: url.href,
    headers: async () => ({
      ...(await gateway.headers("GET", url)),
      ...(hold === undefined ? {} : { [HOLD_HEADER]: hold }),
      ...(plan === undefined ? {} : { [PLAN_HEADER]: plan }),
    }),
    onApproval: (notice) => held.heard(target, notice),
    resumeUrl: (id) => new URL(`/v1/sessions/${id}/resume`, gateway.origin).href,
    log: report.log,
    onState: stateReporter(target, report),
  });
  if (connected.ok) return connected.value;
  const { problem, end, status, message } = connected.error;
  if (problem !== undefined) throw new CommandFailed(exitOf(problem.code, problem.status), `${target}: ${sentenceOf(problem)}`);
  if (end !== undefined) throw new CommandFailed(exitOf(end.code, ERRORS[end.code].status), `${target}: ${end.message} [${end.code}]`);
  if (status !== undefined)
    throw new CommandFailed(EXIT.protocol, `${gateway.origin} answered ${message}, not as a Sallyport gateway does: check the address`);
  throw new CommandFailed(EXIT.unavailable, `${gateway.origin} cannot be reached: ${message}`);
}

/** Tells of losses and resumes; the first `open` and the end are told by others. */
function stateReporter(target: string, report: Reporter): (state: string, why: string) => void {
  let lost = false;
  return (state, why) => {
    if (state === "lost") {
      lost = true;
      report.info("lost", `${target}: the connection was lost (${why}); resuming`, { target });
    } else if (state === "open" && lost) {
      lost = false;
      report.info("resumed", `${target}: resumed`, { target });
    }
  };
}

/** Connects to a target and listens for its clients. @throws CommandFailed */
export async function openTarget(gateway: GatewayClient, target: string, report: Reporter, wishes: SessionWishes): Promise<OpenTarget> {
  const session = await openSession(gateway, target, report, wishes);
  const { user, database } = session.ready;
  if (UNPRINTABLE.test(`${user ?? ""}${database ?? ""}`)) {
    await session.close();
    throw new CommandFailed(EXIT.protocol, `${target}: the agent names a user or database with control characters: not handed on`);
  }
  const { password, auth } = makeClientSecret(randomBytes);
  const clients = new Clients(session, auth);
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => clients.add(socket));
  try {
    await listen(server);
  } catch (error) {
    await session.close();
    throw new CommandFailed(
      EXIT.unavailable,
      `${target}: cannot listen on ${LOOPBACK}: ${error instanceof Error ? error.message : "unknown error"}`,
    );
  }
  const { port } = server.address() as AddressInfo;
  let closing = false;
  const ended = session.ended.then((end) => {
    server.close();
    clients.forget(LAST_WORDS_MS);
    if (!closing)
      report.warn("ended", `${target}: the session has ended: ${end.message} [${end.code}]`, { target, session: session.id, ...end });
    return end;
  });
  return {
    address: {
      target,
      protocol: session.ready.protocol,
      session: session.id,
      host: LOOPBACK,
      port,
      user: session.ready.user ?? gateway.identity ?? "sallyport",
      password,
      database: session.ready.database,
    },
    ended,
    close: async () => {
      closing = true;
      server.close();
      await clients.drained(DRAIN_MS);
      await session.close();
      clients.forget(0);
    },
  };
}

function listen(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, LOOPBACK, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** The connections of one listener. */
class Clients {
  readonly #session: ConnectorSession;
  readonly #auth: ClientAuth;
  readonly #open = new Map<Socket, { readonly stream: LinkStream; readonly over: Promise<void> }>();

  constructor(session: ConnectorSession, auth: ClientAuth) {
    this.#session = session;
    this.#auth = auth;
  }

  add(socket: Socket): void {
    const stream = this.#session.open({ kind: "tcp", auth: this.#auth });
    const over = joinDuplexes(socket, stream).then(() => {
      this.#open.delete(socket);
      return undefined;
    });
    this.#open.set(socket, { stream, over });
  }

  /** Resolves when no connection is left, or after `ms`. */
  async drained(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
    await Promise.race([Promise.all([...this.#open.values()].map(({ over }) => over)), late]);
    clearTimeout(timer);
  }

  /** Ends what is left after `ms`. */
  forget(ms: number): void {
    const end = (): void => {
      for (const [socket, { stream }] of this.#open) {
        socket.destroy();
        stream.destroy();
      }
    };
    if (ms === 0) end();
    else setTimeout(end, ms).unref();
  }
}
