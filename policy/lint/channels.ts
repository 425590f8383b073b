/**
 * Do approvals reach anybody? Groups that are asked and have no channel, channels of groups that nothing asks, channels
 * in which nobody of the group could vote, chat accounts of two people, and votes that would be taken for too long.
 */
import type { IdentityFile } from "../bundle/identity.ts";
import type { PolicySource } from "../cedar/source.ts";
import { problem, suggestion, type Place } from "../problem.ts";
import type { ApprovalChannel, GatewayConfig, Problem } from "../types.ts";

/** `90` → `90s`, `5400` → `90m`: as it could be written. */
function printDuration(seconds: number): string {
  const unit = (
    [
      ["d", 86_400],
      ["h", 3600],
      ["m", 60],
    ] as const
  ).find(([, size]) => seconds % size === 0);
  return unit === undefined ? `${seconds}s` : `${seconds / unit[1]}${unit[0]}`;
}

const canVote = (identity: IdentityFile, channel: ApprovalChannel): boolean =>
  identity.declaration.kind === "human" &&
  identity.declaration.groups.includes(channel.group) &&
  identity.declaration.chat.some(
    (account) => account.kind === channel.kind && (channel.kind === "webhook" || account.team === channel.team),
  );

/** `place`: of gateway.yaml's channels. */
export function lintChannels(
  identities: readonly IdentityFile[],
  policies: readonly PolicySource[],
  gateway: GatewayConfig,
  place: Place | undefined,
): readonly Problem[] {
  const problems: Problem[] = [];
  const asked = new Map<string, PolicySource>();
  for (const policy of policies) for (const group of policy.approvals) if (!asked.has(group)) asked.set(group, policy);
  const warn = (rule: "channel-unused" | "channel-voters", message: string): void => {
    problems.push(problem("warning", rule, "gateway.yaml", message, place));
  };
  for (const group of new Set(gateway.channels.map((channel) => channel.group))) {
    if (!asked.has(group))
      warn("channel-unused", `nothing asks the group ${group}, so nothing is announced to it${suggestion(group, [...asked.keys()])}`);
  }
  for (const channel of gateway.channels) {
    if (!asked.has(channel.group) || identities.some((identity) => canVote(identity, channel))) continue;
    const [where, account] =
      channel.kind === "slack" ? [`Slack's ${channel.team ?? ""}`, "slack: {team: …, user: …}"] : ["the webhook", "webhook: {user: …}"];
    warn("channel-voters", `nobody of ${channel.group} could vote in ${where}: write chat: with ${account} at its members`);
  }
  for (const [group, policy] of asked) {
    if (gateway.channels.some((channel) => channel.group === group)) continue;
    const message = `approvals of ${group} are announced nowhere, so only who looks finds them (sallyport approvals list): write a channel for it in gateway.yaml under approvals:`;
    problems.push(problem("warning", "approval-channel", policy.file, message, policy.place));
  }
  for (const policy of policies) {
    if (policy.json.annotations?.["approval_ttl"] === undefined || policy.hold.ttl <= gateway.approval_ttl_max_s * 1000) continue;
    const message = `votes would be taken for ${printDuration(policy.hold.ttl / 1000)}, but the gateway takes none after ${printDuration(gateway.approval_ttl_max_s)}: lower this, or raise ttl_max in gateway.yaml under approvals:`;
    problems.push(problem("warning", "approval-ttl", policy.file, message, policy.place));
  }
  return problems;
}

/** One account is one person, whatever its capitals: otherwise a vote would be whoever's comes first. */
export function lintChat(identities: readonly IdentityFile[]): readonly Problem[] {
  const owners = new Map<string, IdentityFile>();
  return identities.flatMap((identity) =>
    identity.declaration.chat.flatMap((account, index) => {
      const key = JSON.stringify([account.kind, account.team, account.user.toLowerCase()]);
      const owner = owners.get(key);
      if (owner === undefined) owners.set(key, identity);
      if (owner === undefined || owner === identity) return [];
      const message = `the ${account.kind} account ${account.user} is ${owner.declaration.name}'s already (${owner.declaration.file}): an account is one person's`;
      return [problem("error", "chat-twice", identity.declaration.file, message, identity.locate(["chat", index]))];
    }),
  );
}
