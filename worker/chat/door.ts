/**
 * What every chat channel gives: a message that was proved to come from the channel becomes one person's vote. The proof
 * is each channel's own (slack.ts, webhook.ts); who the person is, is the bundle's word; whether it counts, the approval's.
 */
import { approverFor } from "../../policy/people.ts";
import type { Policy } from "../../policy/types.ts";
import type { Voter } from "../../durable-objects/approval/facts.ts";
import type { Env } from "../../durable-objects/env.ts";
import { CHAT_WINDOW_S } from "../../protocol/limits.ts";

/** A vote as a channel says it. */
export interface ChannelVote {
  readonly approval: string;
  /** Of the command that the message showed. */
  readonly digest: string;
  readonly vote: "approve" | "deny";
  readonly reason?: string | undefined;
}

/** The human of a channel's account. Nobody's account is named for the record as `slack T1/U1`. */
export function voterOf(policy: Policy, kind: "slack" | "webhook", team: string | undefined, user: string): Voter {
  const human = approverFor(policy.identities, kind, team, user);
  if (human !== undefined) return { kind: "account", name: human.name };
  return { kind: "unmapped", account: `${kind} ${team === undefined ? "" : `${team}/`}${user}`.slice(0, 256) };
}

/** Whether a signed time, s since the epoch, is within the window. */
export const isRecent = (timestamp: number, now: number): boolean => Math.abs(now / 1000 - timestamp) <= CHAT_WINDOW_S;

/** True the first time only: messages count once (GW-10). After the signature was verified, so that nobody fills the cache. */
export function claimMessage(env: Env, secret: string, message: string, now: number): Promise<boolean> {
  // The margin covers a message that was dated ahead. No identity's name holds a colon.
  return env.IDENTITIES.getByName(`chat:${secret}`).claim(message, now + 2 * CHAT_WINDOW_S * 1000, now);
}

/** A text secret of the gateway by the name that the bundle gives it; null: not set. The bootstrap secret is none. */
export function secretText(env: Env, name: string): string | null {
  if (!/^[A-Z][A-Z0-9_]{0,127}$/.test(name) || name === "SALLYPORT_BOOTSTRAP_SECRET") return null;
  const value = (env as unknown as Readonly<Record<string, unknown>>)[name];
  return typeof value === "string" && value !== "" ? value : null;
}

/** Undefined where the text is no JSON, which no schema accepts. */
export function parseJson(text: string | null): unknown {
  try {
    return JSON.parse(text ?? "");
  } catch {
    return undefined;
  }
}
