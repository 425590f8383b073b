/**
 * A target's posture: which masking guarantee it has, and what the agent's logins may do beyond their task. As the agent
 * answers the question, and `GET /v1/targets/:target/posture` answers a client. It names roles, tables and columns; it
 * never holds a value of the target, an address or a credential.
 */
import * as z from "zod";

const text = z.string().max(4096);

/** DESIGN's guarantee levels. `none`: no data class names a column of this target. */
export const MaskingLevel = z.enum(["A", "B", "C", "none"]);
export type MaskingLevel = z.infer<typeof MaskingLevel>;

/** One thing that was looked at. `check` is stable, for programs. */
export const PostureFinding = z.object({
  check: z.string().max(63),
  status: z.enum(["ok", "warn", "fail"]),
  /** The login that it is about. */
  login: z.string().max(63).optional(),
  message: text,
  /** Statements that would mend it, for a person to review and run; a line that begins with `--` says what cannot be written as one. */
  sql: z.array(text).max(500).default([]),
});
export type PostureFinding = z.infer<typeof PostureFinding>;

export const Posture = z.object({
  level: MaskingLevel,
  /** Why it is that level and not a better one. */
  why: text,
  server_version: z.string().max(63),
  database: z.string().max(63),
  /** Classified columns that were found, `schema.table.column`, and their class. */
  classified: z.array(z.object({ column: z.string().max(256), class: z.string().max(63) })).max(5_000),
  findings: z.array(PostureFinding).max(2_000),
  /** Bundle whose data classes were looked for. */
  bundle: z.number().int().min(0),
});
export type Posture = z.infer<typeof Posture>;

/** Who may only connect hears the level; who has `target:inspect` hears everything. */
export const PostureAnswer = z.discriminatedUnion("detail", [
  z.object({ detail: z.literal("full"), target: z.string(), agent: z.string(), posture: Posture }),
  z.object({ detail: z.literal("level"), target: z.string(), level: MaskingLevel }),
]);
export type PostureAnswer = z.infer<typeof PostureAnswer>;
