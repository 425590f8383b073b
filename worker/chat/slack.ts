/**
 * Slack, both ways. Out: one message for an approval, settled where it stands when the approval ends. In: a press of a button
 * or a submitted modal, verified (slack-signature.ts), bound to the workspace of the channel whose secret signed it, counted once.
 *
 * Slack wants its answer within three seconds: a message that is genuine is acknowledged at once, and the vote is cast
 * after that. Who voted in vain is told so in the channel, for his eyes only.
 */
import * as z from "zod";
import type { ApprovalChannel } from "../../policy/types.ts";
import type { Approval } from "../../protocol/approval.ts";
import type { Notice, Told } from "../../durable-objects/approval/facts.ts";
import type { Env } from "../../durable-objects/env.ts";
import { err, ok, type Result } from "../../protocol/result.ts";
import { claimMessage, parseJson, type ChannelVote } from "./door.ts";
import { callSlack, slackSecret, type SlackSecret } from "./slack-api.ts";
import { approvalMessage, APPROVE_ACTION, DENY_ACTION, denyModal, parseButtonValue } from "./slack-message.ts";
import { verifySlack, type SignedRequest } from "./slack-signature.ts";

// ── out ──

const Receipt = z.object({ channel: z.string(), ts: z.string() });

/** Errors that a shorter message does not have. */
const TOO_LONG = new Set(["msg_blocks_too_long", "msg_too_long", "invalid_blocks"]);

export async function tellSlack(env: Env, { channel, event, receipt }: Notice, approval: Approval, url: string): Promise<Told> {
  const secret = slackSecret(env, channel.secret);
  if (secret === null)
    return { ok: false, retry: false, error: `the secret ${channel.secret} is not set, or not {"bot_token", "signing_secret"}` };
  const posted = receipt === null ? null : Receipt.parse(JSON.parse(receipt));
  // Nothing stands there to be settled.
  if (event === "settled" && posted === null) return { ok: true, receipt: null };
  const send = (short: boolean) => {
    const message = approvalMessage(approval, url, short);
    return event === "requested"
      ? callSlack(env, secret.bot_token, "chat.postMessage", {
          channel: channel.channel,
          unfurl_links: false,
          unfurl_media: false,
          ...message,
        })
      : callSlack(env, secret.bot_token, "chat.update", { ...posted, ...message });
  };
  const whole = await send(false);
  const answer = !whole.ok && TOO_LONG.has(whole.error.error) ? await send(true) : whole;
  if (!answer.ok) return { ok: false, ...answer.error };
  if (event === "settled") return { ok: true, receipt };
  const { ts, channel: place = channel.channel } = answer.value;
  return { ok: true, receipt: ts === undefined ? null : JSON.stringify({ channel: place, ts }) };
}

// ── in ──

const Origin = {
  team: z.object({ id: z.string().max(64) }),
  user: z.object({ id: z.string().max(64), team_id: z.string().max(64).optional() }),
};
const Pressed = z.object({
  type: z.literal("block_actions"),
  ...Origin,
  trigger_id: z.string().max(512),
  channel: z.object({ id: z.string().max(64) }),
  actions: z.array(z.object({ action_id: z.string().max(256), value: z.string().max(2000).optional() })).length(1),
});
const Submitted = z.object({
  type: z.literal("view_submission"),
  ...Origin,
  view: z.object({
    callback_id: z.literal(DENY_ACTION),
    private_metadata: z.string().max(3000),
    state: z.object({ values: z.object({ reason: z.object({ reason: z.object({ value: z.string().max(3000).nullable() }) }) }) }),
  }),
});
const Interaction = z.discriminatedUnion("type", [Pressed, Submitted]);
const Metadata = z.object({ value: z.string(), channel: z.string() });

/** What a genuine message asks for, by whom. */
export interface SlackAct {
  readonly team: string;
  readonly user: string;
  /** Where he pressed, to answer him. */
  readonly channel: string;
  readonly secret: SlackSecret;
  readonly act:
    | ({ readonly type: "vote" } & ChannelVote)
    | { readonly type: "ask_reason"; readonly trigger: string; readonly value: string; readonly approval: string };
}

/** `secrets`: by name, with the channels that use each. The error is a sentence for the audit. */
export async function readSlack(
  env: Env,
  secrets: ReadonlyMap<string, readonly ApprovalChannel[]>,
  request: SignedRequest,
  now: number,
): Promise<Result<SlackAct, string>> {
  let verdict = "no Slack channel has a secret that is set";
  for (const [name, channels] of secrets) {
    const secret = slackSecret(env, name);
    if (secret === null) continue;
    verdict = await verifySlack(request, secret.signing_secret, now);
    if (verdict !== "ok") continue;
    // Nothing of the body was looked at before this.
    const read = readInteraction(request.body);
    if (!read.ok) return read;
    const { team, user } = read.value;
    if (!channels.some((channel) => channel.team === team) || (user.team_id !== undefined && user.team_id !== team)) {
      return err(`signed with ${name}, but from workspace ${team}, user ${user.id} of ${user.team_id ?? "it"}: not the channel's`);
    }
    if (!(await claimMessage(env, name, request.signature ?? "", now)))
      return err(`replayed: the message came before, signed with ${name}`);
    return ok({ team, user: user.id, channel: read.value.channel, secret, act: read.value.act });
  }
  return err(`Slack signature: ${verdict}`);
}

function readInteraction(
  body: Uint8Array<ArrayBuffer>,
): Result<{ team: string; user: z.infer<typeof Pressed>["user"]; channel: string; act: SlackAct["act"] }, string> {
  const payload = new URLSearchParams(new TextDecoder().decode(body)).get("payload");
  const parsed = Interaction.safeParse(parseJson(payload));
  if (!parsed.success) return err("a genuine message of Slack, but no vote: neither a button of ours nor our modal");
  const { team, user } = parsed.data;
  if (parsed.data.type === "view_submission") {
    const metadata = Metadata.safeParse(parseJson(parsed.data.view.private_metadata));
    const shown = metadata.success ? parseButtonValue(metadata.data.value) : null;
    if (!metadata.success || shown === null) return err("a submitted modal that names no approval");
    const reason = parsed.data.view.state.values.reason.reason.value?.trim().slice(0, 1024);
    return ok({
      team: team.id,
      user,
      channel: metadata.data.channel,
      act: { type: "vote", ...shown, vote: "deny", ...(reason ? { reason } : {}) },
    });
  }
  const [action] = parsed.data.actions;
  const shown = parseButtonValue(action?.value ?? "");
  if (action === undefined || shown === null) return err("a pressed button that names no approval");
  const channel = parsed.data.channel.id;
  if (action.action_id === APPROVE_ACTION) return ok({ team: team.id, user, channel, act: { type: "vote", ...shown, vote: "approve" } });
  if (action.action_id !== DENY_ACTION) return err("a pressed button that is not ours");
  const value = action.value ?? "";
  return ok({
    team: team.id,
    user,
    channel,
    act: { type: "ask_reason", trigger: parsed.data.trigger_id, value, approval: shown.approval },
  });
}

/** Opens the modal for the denial's reason. The error is Slack's code. */
export async function askReason(env: Env, { secret, channel, act }: SlackAct): Promise<string | null> {
  if (act.type !== "ask_reason") return null;
  const view = denyModal(act.approval, JSON.stringify({ value: act.value, channel }));
  const opened = await callSlack(env, secret.bot_token, "views.open", { trigger_id: act.trigger, view });
  return opened.ok ? null : opened.error.error;
}

/** A line for the voter's eyes only. That it may not arrive changes nothing. */
export async function tellVoter(env: Env, { secret, channel, user }: SlackAct, text: string): Promise<void> {
  await callSlack(env, secret.bot_token, "chat.postEphemeral", { channel, user, text });
}
