/**
 * `/v1/chat/…`: where chat channels deliver votes. There is no token: the message's signature proves the channel, the
 * bundle says whose account it names, and the approval decides whether the vote counts. Whatever is refused is audited.
 */
import { Hono } from "hono";
import type { Voter, VoteVerdict } from "../../durable-objects/approval/facts.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import { MAX_CHAT_BYTES } from "../../protocol/limits.ts";
import { castVote, REFUSALS, secretsOf } from "../approvals.ts";
import { readAtMost } from "../body.ts";
import { activeBundle, type ActiveBundle } from "../bundles.ts";
import { voterOf, type ChannelVote } from "../chat/door.ts";
import { askReason, readSlack, tellVoter, type SlackAct } from "../chat/slack.ts";
import { readWebhook } from "../chat/webhook.ts";
import type { GatewayContext, GatewayEnv } from "../env.ts";
import { logError, refuse } from "../refusal.ts";
import { answerVote } from "./approvals.ts";

export const chat: Hono<GatewayEnv> = new Hono<GatewayEnv>();

const nameOf = (voter: Voter): string | undefined => (voter.kind === "unmapped" ? undefined : voter.name);
const ballotOf = (voter: Voter, door: "slack" | "webhook", { vote, digest, reason }: ChannelVote) => ({
  voter,
  door,
  vote,
  digest,
  reason,
});

/** The bundle and the raw body; or the refusal. */
async function receive(c: GatewayContext): Promise<{ bundle: ActiveBundle; body: Uint8Array<ArrayBuffer> } | Response> {
  const bundle = await activeBundle(c.env);
  if (bundle === null) return refuse(c, "no_bundle", { reason: "no bundle is active" });
  const body = await readAtMost(c.req.raw, MAX_CHAT_BYTES);
  return body === null ? refuse(c, "too_large", { reason: `body over ${MAX_CHAT_BYTES} bytes` }) : { bundle, body };
}

chat.post("/v1/chat/slack/actions", async (c) => {
  const received = await receive(c);
  if (received instanceof Response) return received;
  const { bundle, body } = received;
  const signature = c.req.header("x-slack-signature") ?? null;
  const timestamp = c.req.header("x-slack-request-timestamp") ?? null;
  const secrets = secretsOf(bundle.policy.gateway.channels, "slack");
  const read = await readSlack(c.env, secrets, { signature, timestamp, body }, Date.now());
  if (!read.ok) return refuse(c, "signature_invalid", { reason: read.error });
  // Genuine: acknowledged within Slack's three seconds, whatever comes of it.
  c.executionCtx.waitUntil(actOn(c, bundle, read.value).catch((error: unknown) => logError("a vote from Slack failed", error)));
  return c.body(null, 200);
});

async function actOn(c: GatewayContext, { policy }: ActiveBundle, slack: SlackAct): Promise<void> {
  const { act, team, user } = slack;
  if (act.type === "ask_reason") {
    const failed = await askReason(c.env, slack);
    if (failed !== null)
      await tellVoter(c.env, slack, `Slack did not open the form (${failed}): use sallyport approvals deny ${act.approval}`);
    return;
  }
  const voter = voterOf(policy, "slack", team, user);
  const verdict = await castVote(c.env, act.approval, ballotOf(voter, "slack", act));
  const [code, sentence] = refusalOf(verdict);
  if (code !== null) {
    await refuse(c, code, { reason: `vote on ${act.approval} by slack ${team}/${user}: ${reasonOf(verdict)}`, identity: nameOf(voter) });
  }
  if (verdict?.counted !== true || verdict.state === "pending") await tellVoter(c.env, slack, sentence);
}

const reasonOf = (verdict: VoteVerdict | null): string =>
  verdict === null ? "no such approval" : verdict.counted ? "counted" : verdict.refusal;

function refusalOf(verdict: VoteVerdict | null): readonly [ErrorCode | null, string] {
  if (verdict === null) return ["not_found", "There is no such approval."];
  if (!verdict.counted) return REFUSALS[verdict.refusal];
  const missing = verdict.missing.map(({ group, missing }) => `${missing} more of ${group}`).join(", ");
  return [null, `Your vote counts. Still needed: ${missing}.`];
}

chat.post("/v1/chat/webhook/votes", async (c) => {
  const received = await receive(c);
  if (received instanceof Response) return received;
  const { bundle, body } = received;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    return refuse(c, "signature_invalid", { reason: "the body is not UTF-8" });
  }
  const read = await readWebhook(c.env, secretsOf(bundle.policy.gateway.channels, "webhook"), c.req.raw.headers, text, Date.now());
  if (!read.ok) return refuse(c, read.error.code, { reason: read.error.reason });
  const voter = voterOf(bundle.policy, "webhook", undefined, read.value.user);
  const verdict = await castVote(c.env, read.value.approval, ballotOf(voter, "webhook", read.value));
  if (verdict === null) return refuse(c, "not_found", { reason: "a vote on no approval", identity: nameOf(voter) });
  return answerVote(c, read.value.approval, verdict, nameOf(voter));
});
