/**
 * Text messages of the socket between connector (or the object, for HTTP) and agent. The edge does not read
 * them when it couples the two sockets. One schema, validated by the receiver; anything else ends the session
 * with `protocol_violation`. docs/protocol.md describes the conversation.
 */
import * as z from "zod";
import { isErrorCode, type ErrorCode } from "../errors.ts";
import { MAX_SESSION_CONTROL, MAX_STREAMS } from "../limits.ts";
import { err, ok, type Result } from "../result.ts";

const u32 = z.number().int().min(1).max(0xffffffff);
const offset = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const base64 = z
  .string()
  .max(256)
  .regex(/^[A-Za-z0-9+/]+={0,2}$/);

export const errorCode = z.custom<ErrorCode>(isErrorCode, "not an error code of docs/errors.md");

/** How the agent lets the local client in: by a SCRAM-SHA-256 verifier (RFC 5803's parts), so the password itself stays on the runner. */
export const ClientAuth = z.discriminatedUnion("method", [
  z.object({
    method: z.literal("scram-sha-256"),
    iterations: z.number().int().min(4096).max(100_000),
    salt: base64,
    stored_key: base64,
    server_key: base64,
  }),
  /** For `sallyport pipe`: there is no listener anyone else could reach. */
  z.object({ method: z.literal("trust") }),
]);
export type ClientAuth = z.infer<typeof ClientAuth>;

/** What the opener says of a new stream. `tcp` is one client connection, in the target's wire protocol. */
export const StreamMeta = z.discriminatedUnion("kind", [z.object({ kind: z.literal("tcp"), auth: ClientAuth })]);
export type StreamMeta = z.infer<typeof StreamMeta>;

/** Why one stream was cut short; the numbers of RESET frames are in frame.ts. */
export const ResetCode = z.enum(["cancelled", "refused", "internal"]);
export type ResetCode = z.infer<typeof ResetCode>;

/**
 * One stream that the sender of a hello still keeps: `received` bytes taken in order from 0, `limit` the offset up to
 * which its peer may send, `fin` once the peer's FIN was received; `reset` where the sender has reset it and does not
 * know yet that the peer knows. A stream that is not listed is finished and forgotten, or has never been seen.
 */
export const StreamState = z.object({ id: u32, received: offset, limit: offset, fin: z.boolean(), reset: ResetCode.optional() });
export type StreamState = z.infer<typeof StreamState>;

export const SessionControl = z.discriminatedUnion("type", [
  /**
   * First on every socket, from both ends. `epoch` counts the sender's sockets of this session; `opened` is the highest
   * stream id the sender has seen opened by its peer (0 from the opener).
   */
  z.object({
    type: z.literal("hello"),
    v: z.literal(1),
    epoch: z.number().int().min(1),
    opened: z.number().int().min(0),
    streams: z.array(StreamState).max(MAX_STREAMS),
  }),
  /** Agent → connector, after each hello: the session is usable; what a client needs to know of the target. */
  z.object({
    type: z.literal("ready"),
    target: z.string().max(63),
    protocol: z.string().max(32),
    database: z.string().max(63).optional(),
    user: z.string().max(63).optional(),
  }),
  z.object({ type: z.literal("open"), stream: u32, meta: StreamMeta }),
  /**
   * Agent → connector: a command is held for an approval, was refused until one is given, or is settled. What `run` tells
   * its user on stderr and turns into its exit status. Says nothing that the client's own protocol does not say.
   */
  z.object({
    type: z.literal("approval"),
    approval: z.string().max(64),
    state: z.enum(["waiting", "refused", "approved", "denied", "expired", "withdrawn"]),
    message: z.string().max(1024),
  }),
  /** Either way: the session is over; do not redial. */
  z.object({ type: z.literal("end"), code: errorCode, message: z.string().max(1024) }),
  z.object({ type: z.literal("ping"), n: z.number().int().min(0) }),
  z.object({ type: z.literal("pong"), n: z.number().int().min(0) }),
]);
export type SessionControl = z.infer<typeof SessionControl>;

export type ApprovalNotice = Omit<Extract<SessionControl, { type: "approval" }>, "type">;

export function parseSessionControl(text: string): Result<SessionControl, string> {
  if (text.length > MAX_SESSION_CONTROL) return err(`control message of ${text.length} characters, limit ${MAX_SESSION_CONTROL}`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return err("control message is not JSON");
  }
  const parsed = SessionControl.safeParse(json);
  return parsed.success ? ok(parsed.data) : err(`control message: ${z.prettifyError(parsed.error)}`);
}
