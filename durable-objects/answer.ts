/**
 * How a Durable Object refuses an upgrade: a status and `{ code, message }`. It never reaches a client as it is:
 * the Worker audits it and answers problem+json. A 101 goes through untouched.
 */
import { z } from "zod";
import { ERRORS, type ErrorCode } from "../protocol/errors.ts";
import { errorCode } from "../protocol/stream/control.ts";

const Refusal = z.object({ code: errorCode, message: z.string() });
export type Refusal = z.infer<typeof Refusal>;

export function refusal(code: ErrorCode, message: string = ERRORS[code].sentence): Response {
  return Response.json({ code, message } satisfies Refusal, { status: ERRORS[code].status });
}

/** Anything that is not a refusal of ours is `internal`. */
export async function readRefusal(response: Response): Promise<Refusal> {
  const parsed = Refusal.safeParse(await response.json().catch(() => null));
  return parsed.success ? parsed.data : { code: "internal", message: ERRORS.internal.sentence };
}
