/**
 * Hands an upgrade to a Durable Object. A 101 is returned untouched, which takes the Worker out of the sockets' path;
 * anything else becomes an audited refusal.
 *
 * A SessionDO ends its own instance to end a coupling, which also throws out upgrades it holds; a deploy does
 * the same. An upgrade carries no body and changes nothing by being sent again, so it is, a few times.
 */
import { readRefusal } from "../durable-objects/answer.ts";
import { logWarning, reasonOf } from "../durable-objects/log.ts";
import type { ProblemJson } from "../protocol/api.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import type { GatewayContext } from "./env.ts";
import { refuse, type Audit } from "./refusal.ts";

const ATTEMPTS = 3;
const PAUSE_MS = 50;

/** What workerd marks on exceptions of an object that takes no more. */
const isOverloaded = (thrown: unknown): boolean =>
  typeof thrown === "object" && thrown !== null && "overloaded" in thrown && thrown.overloaded === true;

/** `send` makes its stub and its request anew each time: a stub is dead after an exception. `unavailable`: when it stays out of reach. */
export async function passUpgrade(
  c: GatewayContext,
  send: () => Promise<Response>,
  audit: Omit<Audit, "reason">,
  unavailable: ErrorCode,
): Promise<Response> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const response = await send();
      if (response.status === 101) return response;
      const { code, message, over } = await readRefusal(response);
      const refused = await refuse(c, code, { ...audit, reason: message }, { detail: message });
      return over ? await gone(refused) : refused;
    } catch (thrown) {
      const reason = reasonOf(thrown);
      logWarning("upgrade_failed", { path: c.req.path, attempt, reason });
      if (attempt >= ATTEMPTS || isOverloaded(thrown)) return refuse(c, unavailable, { ...audit, reason });
      await scheduler.wait(PAUSE_MS * attempt);
    }
  }
}

/** 410 whatever the code: a session can end for reasons that, answering a first connect, would mean "try again". */
async function gone(refused: Response): Promise<Response> {
  const problem: ProblemJson = { ...(await refused.json<ProblemJson>()), status: 410 };
  const headers = new Headers(refused.headers);
  headers.delete("www-authenticate");
  return new Response(JSON.stringify(problem), { status: 410, headers });
}

/** RFC 6455 section 4.1. */
export const wantsWebSocket = (c: GatewayContext): boolean => c.req.header("upgrade")?.toLowerCase() === "websocket";
