/**
 * Dialling one WebSocket: what an answer other than 101 says, and how long to wait before the next try. Refusals
 * of the gateway are problem+json; whatever else stands in between (a proxy's page, a broken answer) keeps its status.
 */
import type { ClientRequest, IncomingMessage } from "node:http";
import { WebSocket } from "ws";
import { ProblemJson } from "../protocol/connect.ts";
import { ERRORS, type ErrorCode } from "../protocol/errors.ts";
import { DIAL_BACK_MS, MAX_SESSION_CONTROL } from "../protocol/limits.ts";
import { err, ok, type Result } from "../protocol/result.ts";
import { MAX_FRAME } from "../protocol/stream/frame.ts";
import { maskingKey } from "./masking.ts";
import type { SessionEnd } from "./types.ts";

/** Why there is no socket. */
export interface DialFailure {
  /** A sentence for a human. */
  readonly message: string;
  /** HTTP status, where there was an answer. */
  readonly status?: number | undefined;
  readonly problem?: ProblemJson | undefined;
}

const MAX_REFUSAL_BYTES = 64 * 1024;
/** The gateway holds an upgrade until the other side is there, DIAL_BACK_MS at most. */
const HANDSHAKE_MS = DIAL_BACK_MS + 10_000;

/** A client WebSocket with the link's settings. `headers`: of the upgrade request. */
export function openWebSocket(url: string | URL, headers: Record<string, string>): WebSocket {
  return new WebSocket(url, {
    // Some edges refuse what does not say what it is.
    headers: { "user-agent": "sallyport", ...headers },
    // Frames are small and latency counts; and compression beside secrets is a hazard of its own.
    perMessageDeflate: false,
    // ws closes before it allocates more.
    maxPayload: Math.max(MAX_FRAME, MAX_SESSION_CONTROL),
    handshakeTimeout: HANDSHAKE_MS,
    followRedirects: false,
    generateMask: maskingKey,
  });
}

/**
 * Waits until a socket that is being opened is open. It is paused then, so that no message is missed before its owner
 * listens: `resume()` it. On failure the socket is gone.
 */
export function whenOpen(socket: WebSocket): Promise<Result<WebSocket, DialFailure>> {
  // Whatever happens to a socket is told by `close`; an error without a listener would end the process.
  socket.on("error", () => {});
  if (socket.readyState === WebSocket.OPEN) {
    socket.pause();
    return Promise.resolve(ok(socket));
  }
  if (socket.readyState !== WebSocket.CONNECTING) return Promise.resolve(err({ message: "the connection is closed" }));
  return new Promise((resolve) => {
    const settle = (result: Result<WebSocket, DialFailure>): void => {
      socket.off("open", onOpen).off("unexpected-response", onRefused).off("error", onError).off("close", onClose);
      if (!result.ok) socket.terminate();
      resolve(result);
    };
    const onOpen = (): void => {
      socket.pause();
      settle(ok(socket));
    };
    const onRefused = (request: ClientRequest, response: IncomingMessage): void => {
      void refused(request, response);
    };
    const refused = async (request: ClientRequest, response: IncomingMessage): Promise<void> => {
      const failure = await readRefusal(response);
      request.destroy();
      settle(err(failure));
    };
    const onError = (error: Error): void => settle(err({ message: describe(error) }));
    const onClose = (): void => settle(err({ message: "the connection was closed before it was open" }));
    socket.on("open", onOpen).on("unexpected-response", onRefused).on("error", onError).on("close", onClose);
  });
}

async function readRefusal(response: IncomingMessage): Promise<DialFailure> {
  const status = response.statusCode ?? 0;
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MAX_REFUSAL_BYTES) break;
      chunks.push(chunk);
    }
    const problem = ProblemJson.safeParse(JSON.parse(Buffer.concat(chunks).toString("utf8")));
    if (problem.success) return { message: problem.data.title, status, problem: problem.data };
  } catch {
    // Not the gateway's words: the status has to do.
  }
  return { message: `HTTP ${status}`, status };
}

/** Connection errors in words: Node's AggregateError (several addresses tried) has an empty message. */
function describe(error: Error): string {
  if (error instanceof AggregateError && error.errors[0] instanceof Error) return error.errors[0].message;
  if (error.message !== "") return error.message;
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
}

/**
 * What a refused redial means for the session: over (with the code that both ends report), or try again (undefined).
 * A session that the gateway does not know any more is lost; only a temporary answer is worth another try.
 */
export function endOfRefusal({ status, problem }: DialFailure): SessionEnd | undefined {
  switch (status) {
    case 410:
    case 403:
      return { code: problem?.code ?? "session_closed", message: problem?.detail ?? problem?.title ?? ERRORS.session_closed.sentence };
    case 404:
    case 400:
      return endsSession(problem?.code)
        ? { code: problem?.code ?? "session_lost", message: problem?.detail ?? problem?.title ?? ERRORS.session_lost.sentence }
        : { code: "session_lost", message: "The gateway does not know the session any more." };
    default:
      return undefined;
  }
}

const endsSession = (code: ErrorCode | undefined): boolean => code !== undefined && ERRORS[code].status === 410;
