/**
 * `chat:` of a human: their accounts with the messengers that votes come through. One mapping, or a list of such:
 *
 *     chat: { slack: { team: T0123ABCD, user: U0456EFGH } }
 *     chat: { webhook: { user: dana@example.com } }
 */
import type { z } from "zod";
import type { Rule } from "../rules.ts";
import type { IdentityDeclaration } from "../types.ts";
import { slackId, slackTeam } from "./channels.ts";
import { list, mapping, text } from "./fields.ts";

const Account = mapping({
  slack: mapping({
    team: slackTeam,
    user: slackId("UW", "the member's id, such as U0456EFGH", "Slack's profile menu copies it; display names can be changed"),
  }).optional(),
  webhook: mapping({
    user: text("the person as the webhook's other end names them", 256).regex(
      /^[^\p{C}\p{Z}](?:[^\p{C}]*[^\p{C}\p{Z}])?$/u,
      "write the name without invisible characters and without spaces at its ends",
    ),
  }).optional(),
});

export const Chat = list(Account, "accounts: slack: {team: T…, user: U…} or webhook: {user: …}", 16);

type Fault = (path: readonly PropertyKey[], rule: Rule, message: string) => void;

/** Paths of faults begin inside the identity. */
export function readChat(
  raw: z.infer<typeof Chat> | undefined,
  kind: IdentityDeclaration["kind"],
  fault: Fault,
): IdentityDeclaration["chat"] {
  if (raw === undefined) return [];
  if (kind !== "human") fault(["chat"], "chat-machine", "only humans vote: remove chat:, or write kind: human if this is a person");
  return raw.flatMap(({ slack, webhook }, index) => {
    if (slack === undefined && webhook === undefined) fault(["chat", index], "chat-form", "write slack: or webhook:");
    return [
      ...(slack === undefined ? [] : [{ kind: "slack" as const, ...slack }]),
      ...(webhook === undefined ? [] : [{ kind: "webhook" as const, ...webhook }]),
    ];
  });
}
