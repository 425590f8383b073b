/**
 * What the agent asks of the gateway besides the control socket: a socket for a session, and the upload of a
 * segment. Every request carries a token made for it alone.
 */
import type { WebSocket } from "ws";
import { openWebSocket } from "../../link/dial.ts";
import { DIAL_HEADER, ProblemJson } from "../../protocol/api.ts";
import type { SessionId } from "../../protocol/ids.ts";
import type { PutResult } from "../recording/uploader.ts";
import { describeFetchError, type AgentIdentity } from "../state/identity.ts";
import { socketUrl } from "./control-socket.ts";

const UPLOAD_TIMEOUT_MS = 60_000;

/** Dials the session's own socket; not open yet when it resolves. `secret`: the dispatch's. */
export type DialSession = (session: SessionId, secret: string) => Promise<WebSocket>;

export interface Gateway {
  /** Headers with a fresh token. */
  readonly headers: () => Promise<Record<string, string>>;
  readonly dial: DialSession;
  readonly put: (session: string, number: number, body: Buffer<ArrayBuffer>, signal: AbortSignal) => Promise<PutResult>;
}

/** `origin` of the gateway: scheme, host and port. */
export function createGateway(origin: string, identity: AgentIdentity): Gateway {
  const headers = async (): Promise<Record<string, string>> => ({ authorization: `Bearer ${await identity.token(origin)}` });
  return {
    headers,
    dial: async (session, secret) =>
      openWebSocket(socketUrl(origin, `/v1/sessions/${session}/agent`), { ...(await headers()), [DIAL_HEADER]: secret }),
    put: async (session, number, body, stop) => {
      const abort = new AbortController();
      const end = (): void => abort.abort();
      const timer = setTimeout(end, UPLOAD_TIMEOUT_MS);
      stop.addEventListener("abort", end);
      try {
        const response = await fetch(new URL(`/v1/agent/sessions/${session}/segments/${number}`, origin), {
          method: "PUT",
          headers: { ...(await headers()), "content-type": "application/x-ndjson" },
          body,
          redirect: "error",
          signal: abort.signal,
        });
        return await readAnswer(response);
      } catch (error) {
        return { kind: "unavailable", reason: describeFetchError(error) };
      } finally {
        clearTimeout(timer);
        stop.removeEventListener("abort", end);
      }
    },
  };
}

async function readAnswer(response: Response): Promise<PutResult> {
  const text = await response.text();
  if (response.ok) return { kind: "stored" };
  const problem = ProblemJson.safeParse(parse(text));
  const { title, code, ref } = problem.data ?? {};
  const reason = problem.success ? `${title} (${code}${ref === undefined ? "" : `, reference ${ref}`})` : `HTTP ${response.status}`;
  const soon = response.status >= 500 || [401, 408, 429].includes(response.status);
  return { kind: soon ? "unavailable" : "refused", reason };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
