/**
 * The recording's event log: NDJSON, one event a line, hash-chained. The text of a line is
 *
 *     {"v":1,"session":"ses_…","seq":7,"at":…,"prev":"<64 hex>","type":"command",…,"hash":"<64 hex>"}
 *
 * `hash` is SHA-256 over the line's UTF-8 bytes before the final `,"hash":"…"}` — the bytes as written, so
 * there is no canonical form to agree on. `prev` is the previous line's hash; the first line's is 64 zeros.
 * A `checkpoint` or `seal` event carries the agent's Ed25519 signature over `signedText()`.
 * Everything in an event is masked before it gets here.
 */
import * as z from "zod";
import { errorCode } from "../stream/control.ts";
import { Workload } from "../workload.ts";

const hex64 = z.string().regex(/^[0-9a-f]{64}$/);
const ms = z.number().int().min(0);
const count = z.number().int().min(0);

export const FIRST_PREV = "0".repeat(64);

const base = { v: z.literal(1), session: z.string(), seq: count, at: ms, prev: hex64, hash: hex64 };

export const Outcome = z.enum(["allow", "hold", "deny"]);
export type Outcome = z.infer<typeof Outcome>;

/** One (action, resource) pair that a command needs, e.g. `pg:select` on `orders-db/public.orders`. */
export const EffectRecord = z.object({ action: z.string(), resource: z.string() });

/** One parameter as recorded: text after detectors, or only its size where it is binary or long. */
export const ParameterRecord = z.union([z.string(), z.null(), z.object({ bytes: count })]);

export const RecordingEvent = z.discriminatedUnion("type", [
  z.object({
    ...base,
    type: z.literal("session.start"),
    target: z.string(),
    protocol: z.string(),
    site: z.string(),
    agent: z.string(),
    identity: z.string(),
    workload: Workload,
    bundle: count,
    deadline: ms,
  }),
  z.object({ ...base, type: z.literal("stream.open"), stream: count, user: z.string().optional(), application: z.string().optional() }),
  z.object({ ...base, type: z.literal("stream.close"), stream: count, bytes_in: count, bytes_out: count, reason: z.string().optional() }),
  /** Written before the command reaches the target, or instead of it. */
  z.object({
    ...base,
    type: z.literal("command"),
    /** Unique in the session; `outcome` refers to it. */
    command: count,
    stream: count,
    /** How it came: simple, extended, copy, … in the protocol's words. */
    via: z.string(),
    /** Which of a target's logins it runs as, where it has more than one and it is not the ordinary one. */
    login: z.string().optional(),
    /** The command after the detectors have masked its literals. */
    text: z.string(),
    /** HMAC-SHA-256 of the command's exact bytes under the agent's recording key: equal commands are recognised, values are not. */
    digest: hex64,
    /** The statement with literals replaced by placeholders; groups equal shapes. */
    shape: z.string().optional(),
    parameters: z.array(ParameterRecord).optional(),
    effects: z.array(EffectRecord),
    decision: Outcome,
    policies: z.array(z.string()),
    /** Why, when it was not allowed: stable code and sentence. */
    reason: z.string().optional(),
    /** The approval that this command waited for, or ran by. */
    approval: z.string().optional(),
    bundle: count,
  }),
  /** What became of an approval that a command of this session asked for. */
  z.object({
    ...base,
    type: z.literal("approval"),
    approval: z.string(),
    command: count.optional(),
    state: z.enum(["pending", "approved", "denied", "expired", "withdrawn"]),
    by: z.array(z.string()).optional(),
    reason: z.string().optional(),
  }),
  /**
   * A result as the client saw it, or its beginning: masked values only. `rows` hold text, null, or a size. One event a
   * result; several, in order, where all of a long one is kept.
   */
  z.object({
    ...base,
    type: z.literal("result"),
    command: count,
    /** Which of the command's results, from 0, which it is when left out. */
    result: count.optional(),
    /** How many of its rows are in events before this one; 0 when left out. */
    from: count.optional(),
    columns: z.array(z.object({ name: z.string(), type: z.string(), class: z.string().optional() })),
    rows: z.array(z.array(ParameterRecord)),
    /** There were more rows than these and the ones before, and they are not kept. */
    truncated: z.boolean(),
  }),
  z.object({
    ...base,
    type: z.literal("outcome"),
    command: count,
    /** `unknown`: the connection was lost before the target answered (PG-52). */
    status: z.enum(["ok", "error", "cancelled", "refused", "unknown"]),
    /** SQLSTATE, exit status or HTTP status. */
    code: z.string().optional(),
    /** Command tag or the protocol's like. */
    tag: z.string().optional(),
    rows: count.optional(),
    bytes: count.optional(),
    ms: z.number().min(0).optional(),
    /** Values that were masked in its results, by data class. */
    masked: z.record(z.string(), count).optional(),
  }),
  z.object({ ...base, type: z.literal("policy"), bundle: count, note: z.string().optional() }),
  /** Honest hole: what could not be recorded, e.g. after the agent was killed. */
  z.object({ ...base, type: z.literal("gap"), note: z.string() }),
  z.object({ ...base, type: z.literal("checkpoint"), agent: z.string(), signature: z.string() }),
  z.object({ ...base, type: z.literal("session.end"), code: errorCode, message: z.string() }),
  z.object({ ...base, type: z.literal("seal"), agent: z.string(), signature: z.string() }),
]);
export type RecordingEvent = z.infer<typeof RecordingEvent>;

/** An event before the log gives it its place and hash. */
export type NewEvent = RecordingEvent extends infer E ? (E extends RecordingEvent ? Omit<E, keyof typeof base> : never) : never;

/** What a checkpoint (`kind`) signs: the chain up to and including the event before it. */
export function signedText(kind: "checkpoint" | "seal", session: string, seq: number, prev: string): string {
  return `sallyport-recording-v1\n${kind}\n${session}\n${seq}\n${prev}`;
}
