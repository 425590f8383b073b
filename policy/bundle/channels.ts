/**
 * `approvals:` of gateway.yaml: where a group's approvals are announced, and how long votes may be taken.
 *
 *     approvals:
 *       ttl_max: 4h
 *       channels:
 *         - group: dba
 *           slack: { team: T0123ABCD, channel: C0123ABCD, secret: SLACK_DBA }
 *         - group: dba
 *           webhook: { url: https://hooks.example.com/sallyport, secret: DBA_WEBHOOK }
 *
 * `secret` is the name of a secret of the gateway (`wrangler secret put NAME`), never its value: what looks like a value
 * is refused, and no message repeats it.
 */
import * as z from "zod";
import type { Rule } from "../rules.ts";
import type { ApprovalChannel } from "../types.ts";
import { duration, list, mapping, name, text } from "./fields.ts";

export const APPROVAL_TTL_MAX_S = 3600;
const DAY_S = 86_400;

/** Tokens and signing secrets as the messengers print them. */
const SECRET_VALUE = /^(?:xox[a-z]-|xapp-|whsec_|[0-9a-f]{32}$|\{)/i;
const SECRET_NAME =
  "write the NAME of one of the gateway's secrets, such as SLACK_DBA, and keep its value there: wrangler secret put SLACK_DBA";

const secret = z.string({ error: SECRET_NAME }).superRefine((value, context) => {
  if (/^[A-Z][A-Z0-9_]{0,63}$/.test(value)) return;
  const message = SECRET_VALUE.test(value)
    ? `this is a secret itself, and this file is no place for it: change it, then ${SECRET_NAME}`
    : SECRET_NAME;
  context.addIssue({ code: "custom", message });
});

/** Slack's ids are capitals and digits after a letter that says what they are. */
export const slackId = (letters: string, what: string, instead: string) =>
  text(what, 64).regex(new RegExp(`^[${letters}][A-Z0-9]{1,62}$`), `write ${what}: ${instead}`);

export const slackTeam = slackId(
  "TE",
  "the workspace's id, such as T0123ABCD",
  "it is in the address of Slack in a browser, app.slack.com/client/T…",
);

const Slack = mapping({
  team: slackTeam,
  channel: slackId("CGD", "the channel's id, such as C0123ABCD", "it is at the end of the channel's details in Slack; names can be reused"),
  secret,
});

const Webhook = mapping({ url: text("the https address that requests are posted to", 2048), secret });

export const Approvals = mapping({
  ttl_max: duration(60, 7 * DAY_S, "from 1m to 7d").default(APPROVAL_TTL_MAX_S),
  channels: list(
    mapping({ group: name("the group whose approvals are announced there"), slack: Slack.optional(), webhook: Webhook.optional() }),
    "channels, each with group: and slack: or webhook:",
    64,
  ).optional(),
});

type Fault = (path: readonly PropertyKey[], rule: Rule, message: string) => void;

/** `isProtected`: https, or http on loopback. Paths of faults begin inside `approvals:`. */
export function readChannels(
  approvals: z.infer<typeof Approvals> | undefined,
  isProtected: (address: string) => boolean,
  fault: Fault,
): readonly ApprovalChannel[] {
  const seen = new Set<string>();
  return (approvals?.channels ?? []).flatMap(({ group, slack, webhook }, index): ApprovalChannel[] => {
    const path = ["channels", index];
    if (slack === undefined && webhook === undefined) fault(path, "channel-form", "write slack: or webhook: beside group:");
    // The message does not repeat the address: some hold a secret.
    if (webhook !== undefined && !isProtected(webhook.url))
      fault(
        [...path, "webhook", "url"],
        "channel-form",
        "write an https address without user and password (http is accepted on loopback only)",
      );
    else if (webhook !== undefined && new URL(webhook.url).hostname === "hooks.slack.com")
      fault(
        [...path, "webhook", "url"],
        "channel-form",
        "Slack's incoming webhooks take no votes, and their address is a secret: write slack: with team:, channel: and secret:",
      );
    const channels: readonly ApprovalChannel[] = [
      ...(slack === undefined ? [] : [{ group, kind: "slack" as const, ...slack }]),
      ...(webhook === undefined ? [] : [{ group, kind: "webhook" as const, ...webhook }]),
    ];
    for (const each of channels) {
      const key = JSON.stringify([each.group, each.kind, each.team, each.channel, each.url]);
      if (seen.has(key)) fault(path, "channel-twice", `${group} is announced there already: keep one of them`);
      seen.add(key);
    }
    return [...channels];
  });
}
