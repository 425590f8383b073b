/**
 * How a Durable Object refuses an upgrade: a status and `{ code, message, over }`. It never reaches a client as it is:
 * the Worker audits it and answers problem+json. A 101 goes through untouched.
 */
import * as z from "zod";
import { ERRORS, type ErrorCode } from "../protocol/errors.ts";
import { errorCode } from "../protocol/stream/control.ts";

/** `over`: the session has ended, for whatever code; a redial is to be answered 410. */
const Refusal = z.object({ code: errorCode, message: z.string(), over: z.boolean() });
export type Refusal = z.infer<typeof Refusal>;

export function refusal(code: ErrorCode, message: string = ERRORS[code].sentence, over = false): Response {
  return Response.json({ code, message, over } satisfies Refusal, { status: over ? 410 : ERRORS[code].status });
}

/** Anything that is not a refusal of ours is `internal`. */
export async function readRefusal(response: Response): Promise<Refusal> {
  const parsed = Refusal.safeParse(await response.json().catch(() => null));
  return parsed.success ? parsed.data : { code: "internal", message: ERRORS.internal.sentence, over: false };
}
