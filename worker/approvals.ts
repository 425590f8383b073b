/**
 * Approvals as the Worker composes them: the object's class with the compiled bundle and the chat channels behind it, and
 * `castVote`, the one way by which every door's vote reaches an approval.
 */
import type { ApprovalChannel } from "../policy/types.ts";
import type { Approval } from "../protocol/approval.ts";
import { ApprovalObject } from "../durable-objects/approval/object.ts";
import type { Ballot, Charter, Notice, Told, VoteRefusal, VoteVerdict } from "../durable-objects/approval/facts.ts";
import type { Env } from "../durable-objects/env.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import { parseApprovalId } from "../protocol/ids.ts";
import { findBundle } from "../store/bundles.ts";
import { activeBundle } from "./bundles.ts";
import { tellChannel } from "./chat/notify.ts";

export class ApprovalDO extends ApprovalObject {
  protected override charter(heldBy: number, voters: readonly string[]): Promise<Charter> {
    return readCharter(this.env, heldBy, voters);
  }

  protected override announce(notice: Notice, approval: Approval, gateway: string): Promise<Told> {
    return tellChannel(this.env, notice, approval, gateway);
  }
}

/** Throws without an active bundle: then nobody is a member of anything. */
async function readCharter(env: Env, heldBy: number, voters: readonly string[]): Promise<Charter> {
  const bundle = await activeBundle(env);
  if (bundle === null) throw new Error("no bundle is active");
  const { gateway, identities } = bundle.policy;
  const humans = new Map([...identities].filter(([, { kind }]) => kind === "human"));
  const [publishers, revocations] = await Promise.all([
    Promise.all([...new Set([bundle.version, heldBy])].map((version) => publisherOf(env, version))),
    Promise.all(
      voters
        .filter((name) => humans.has(name))
        .map(async (name) => ({ name, revoked: (await env.IDENTITIES.getByName(name).status()).revoked !== null })),
    ),
  ]);
  return {
    bundle: bundle.version,
    humans,
    editors: new Set(publishers.filter((publisher) => publisher !== null)),
    revoked: new Set(revocations.flatMap(({ name, revoked }) => (revoked ? [name] : []))),
    channels: gateway.channels,
    ttlMax: gateway.approval_ttl_max_s * 1000,
  };
}

/** Publications are never changed, so each is read once. */
const publisherByVersion = new Map<number, string>();

async function publisherOf(env: Env, version: number): Promise<string | null> {
  const publisher = publisherByVersion.get(version) ?? (await findBundle(env.DB, version))?.published_by;
  if (publisher !== undefined) publisherByVersion.set(version, publisher);
  return publisher ?? null;
}

/** null: there is no such approval, or it is none's id. */
export async function castVote(env: Env, id: string, ballot: Ballot): Promise<VoteVerdict | null> {
  const approval = parseApprovalId(id);
  return approval.ok ? env.APPROVALS.getByName(approval.value).vote(ballot) : null;
}

/** What a refused voter is told, and under which code an HTTP door says it. */
export const REFUSALS: Readonly<Record<VoteRefusal, readonly [ErrorCode, string]>> = {
  unmapped: ["vote_refused", "The bundle maps this account to no human."],
  late: ["approval_over", "The approval has ended already."],
  not_human: ["vote_refused", "Only a human that the bundle declares may vote."],
  revoked: ["vote_refused", "This person is revoked."],
  requester: ["vote_refused", "Whoever asks cannot consent."],
  actor: ["vote_refused", "Whoever started the run cannot consent to its commands."],
  rule_editor: ["vote_refused", "Whoever published the policy cannot consent to what it holds."],
  not_a_member: ["vote_refused", "This person is in none of the groups that must consent."],
  other_command: ["vote_refused", "The vote is for another command than the one that is asked for: look again."],
  duplicate: ["vote_refused", "This person has voted already; the first vote stands."],
};

/** Secrets that the bundle's channels name, each once, with the channels that use it. */
export function secretsOf(channels: readonly ApprovalChannel[], kind: ApprovalChannel["kind"]): ReadonlyMap<string, ApprovalChannel[]> {
  const secrets = new Map<string, ApprovalChannel[]>();
  for (const channel of channels) {
    if (channel.kind === kind) secrets.set(channel.secret, [...(secrets.get(channel.secret) ?? []), channel]);
  }
  return secrets;
}
