/**
 * The signed webhook, both ways, after Standard Webhooks (standardwebhooks.com): headers `webhook-id`, `webhook-timestamp`
 * and `webhook-signature`, HMAC-SHA256 over `id.timestamp.body` under a `whsec_` secret that both ends hold.
 *
 * Out: `approval.requested` and `approval.settled`, with the whole approval. In: one vote. The holder of the secret speaks
 * for every human whom the bundle gives a webhook account.
 */
import { Webhook } from "standardwebhooks";
import * as z from "zod";
import type { ApprovalChannel } from "../../policy/types.ts";
import { VoteRecord, type Approval } from "../../protocol/approval.ts";
import { VoteRequest } from "../../protocol/api.ts";
import type { Notice, Told } from "../../durable-objects/approval/facts.ts";
import type { Env } from "../../durable-objects/env.ts";
import { err, ok, type Result } from "../../protocol/result.ts";
import { claimMessage, parseJson, secretText, type ChannelVote } from "./door.ts";
import { post } from "./post.ts";

/** null: not set, or not `whsec_` and base64 of 24 to 64 bytes, as the standard has it. */
function webhookOf(env: Env, name: string): Webhook | null {
  const text = secretText(env, name) ?? "";
  if (!/^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/.test(text)) return null;
  try {
    return new Webhook(text);
  } catch {
    return null;
  }
}

// ── out ──

/** The same id at each attempt, so that the receiver can tell a repetition. */
export async function tellWebhook(env: Env, { n, channel, event }: Notice, approval: Approval, url: string): Promise<Told> {
  const webhook = webhookOf(env, channel.secret);
  if (webhook === null || channel.url === undefined) {
    return { ok: false, retry: false, error: `the secret ${channel.secret} is not set, or not whsec_ and base64` };
  }
  const id = `${approval.approval}_${n}`;
  const now = new Date();
  const { notices: _, ...shown } = approval;
  const body = JSON.stringify({ type: `approval.${event}`, timestamp: now.toISOString(), data: { ...shown, url } });
  const headers = {
    "content-type": "application/json",
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
    "webhook-signature": webhook.sign(id, now, body),
  };
  const posted = await post(channel.url, headers, body);
  if (posted === null) return { ok: false, retry: true, error: "unreachable" };
  const { status, after } = posted;
  // 410 Gone: the standard's word for "no more".
  return posted.ok ? { ok: true, receipt: null } : { ok: false, retry: status !== 410, error: `http_${status}`, after };
}

// ── in ──

const Vote = VoteRequest.extend({
  approval: z.string().max(64),
  vote: VoteRecord.shape.vote,
  /** The voter's account, as the bundle's `chat: - webhook:` has it. */
  user: z.string().min(1).max(256),
});

export interface WebhookVote extends ChannelVote {
  readonly user: string;
}

/** The error is a sentence for the audit; `malformed`: signed by a channel, and yet no vote. */
export async function readWebhook(
  env: Env,
  secrets: ReadonlyMap<string, readonly ApprovalChannel[]>,
  headers: Headers,
  body: string,
  now: number,
): Promise<Result<WebhookVote, { readonly code: "signature_invalid" | "bad_request"; readonly reason: string }>> {
  const given = Object.fromEntries(["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => [name, headers.get(name) ?? ""]));
  const id = given["webhook-id"] ?? "";
  let reason = "no webhook channel has a secret that is set";
  if (id.length > 256) return err({ code: "signature_invalid", reason: "webhook-id is longer than 256 characters" });
  for (const name of secrets.keys()) {
    const webhook = webhookOf(env, name);
    if (webhook === null) continue;
    try {
      // Checks the five minutes too, and compares in constant time.
      webhook.verify(body, given, { jsonParse: false });
    } catch (thrown) {
      reason = `webhook signature: ${thrown instanceof Error ? thrown.message : "not verified"}`;
      continue;
    }
    if (!(await claimMessage(env, name, id, now))) {
      return err({ code: "signature_invalid", reason: `replayed: message ${id} came before, signed with ${name}` });
    }
    const parsed = Vote.safeParse(parseJson(body));
    if (!parsed.success)
      return err({ code: "bad_request", reason: `signed with ${name}, but no vote: ${z.prettifyError(parsed.error).slice(0, 300)}` });
    return ok(parsed.data);
  }
  return err({ code: "signature_invalid", reason });
}
