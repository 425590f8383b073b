/**
 * The rules of one approval, pure: who may vote, what a vote does, when it ends, and who may use what was approved.
 *
 * Guarantees: one outcome, decided once; a vote counts for every needed group that the voter is in at that moment, and
 * only as long as he stays in it (all votes are counted anew when one is cast, and when the consent is used); nobody
 * who asked, started the run or wrote the rule has a part in it; each person votes once; consent is used once.
 * It trusts `Ballot.voter`: the door has proved it.
 */
import type { ApprovalNeed, ApprovalOutcome, ApprovalState, VoteRecord } from "../../protocol/approval.ts";
import { MAX_REFUSED_VOTES } from "../../protocol/limits.ts";
import { visibleLine } from "../../protocol/visible.ts";
import type { Workload } from "../../protocol/workload.ts";
import type { IdentityDeclaration } from "../../policy/types.ts";
import type { ApprovalFacts, ApprovalRecord, Ballot, Electorate, UseClaim, Voter, VoteRefusal, VoteVerdict } from "./facts.ts";

export const OPEN: ApprovalRecord = { outcome: null, votes: [], notKept: 0, use: null, consentOf: null };

export const stateOf = (record: ApprovalRecord): ApprovalState => record.outcome?.state ?? "pending";

/** Ends it, unless it has ended. */
function settle(record: ApprovalRecord, outcome: ApprovalOutcome): ApprovalRecord {
  return record.outcome === null ? { ...record, outcome } : record;
}

/** Time is looked at before anything else is done: what comes at or after `expires_at` comes too late. */
export function expire(facts: ApprovalFacts, record: ApprovalRecord, now: number): ApprovalRecord {
  if (now < facts.expires_at) return record;
  return settle(record, { state: "expired", at: now, groups: [], by: [], reason: "Nobody decided in time." });
}

export function withdraw(facts: ApprovalFacts, record: ApprovalRecord, reason: string, now: number): ApprovalRecord {
  return settle(expire(facts, record, now), {
    state: "withdrawn",
    at: now,
    groups: [],
    by: [],
    reason: visibleLine(reason).slice(0, 1024),
  });
}

// ── votes ──

export interface Voted {
  readonly record: ApprovalRecord;
  readonly verdict: VoteVerdict;
}

export function castVote(facts: ApprovalFacts, before: ApprovalRecord, ballot: Ballot, electorate: Electorate, now: number): Voted {
  const record = expire(facts, before, now);
  const judged = judge(facts, record, ballot, electorate);
  const vote: VoteRecord = {
    at: now,
    voter: visibleLine(nameOf(ballot.voter)).slice(0, 256),
    door: ballot.door,
    vote: ballot.vote,
    groups: judged.groups,
    // It will be shown in terminals: by a client's driver as it is.
    ...(ballot.reason === undefined ? {} : { reason: visibleLine(ballot.reason).slice(0, 1024) }),
  };
  if (judged.refusal !== null) {
    const verdict = { counted: false, refusal: judged.refusal, state: stateOf(record) } as const;
    const kept = record.votes.filter(({ refused }) => refused !== undefined).length < MAX_REFUSED_VOTES;
    if (!kept) return { record: { ...record, notKept: record.notKept + 1 }, verdict };
    return { record: { ...record, votes: [...record.votes, { ...vote, refused: judged.refusal }] }, verdict };
  }
  const counted = { ...record, votes: [...record.votes, vote] };
  if (ballot.vote === "deny") {
    const outcome = {
      state: "denied",
      at: now,
      groups: [],
      by: [vote.voter],
      ...(vote.reason === undefined ? {} : { reason: vote.reason }),
    };
    return { record: settle(counted, outcome as ApprovalOutcome), verdict: { counted: true, state: "denied", missing: [] } };
  }
  const tally = count(facts, counted, facts.request.needs, electorate);
  if (tally.missing.length > 0) return { record: counted, verdict: { counted: true, state: "pending", missing: tally.missing } };
  const outcome: ApprovalOutcome = { state: "approved", at: now, groups: facts.request.needs.map(({ group }) => group), by: tally.by };
  return { record: settle(counted, outcome), verdict: { counted: true, state: "approved", missing: [] } };
}

const nameOf = (voter: Voter): string => (voter.kind === "unmapped" ? voter.account : voter.name);

type Judged = { readonly refusal: VoteRefusal; readonly groups: string[] } | { readonly refusal: null; readonly groups: string[] };

function judge(facts: ApprovalFacts, record: ApprovalRecord, { voter, digest }: Ballot, electorate: Electorate): Judged {
  const no = (refusal: VoteRefusal, groups: string[] = []): Judged => ({ refusal, groups });
  if (voter.kind === "unmapped") return no("unmapped");
  const { request, asker } = facts;
  // Before the rest, so that whoever asked hears so even where he is no human of the bundle.
  if (voter.name === asker.identity) return no("requester");
  if (voter.kind === "identity") {
    const own = voter.workload;
    if (own.issuer === asker.workload.issuer && own.subject === asker.workload.subject) return no("requester");
    if (sameActor(own, asker.workload)) return no("actor");
  }
  const excluded = exclusionOf(facts, voter.name, electorate);
  if (excluded !== null) return no(excluded);
  const groups = electorate.humans.get(voter.name)?.groups.filter((group) => request.needs.some((need) => need.group === group)) ?? [];
  if (groups.length === 0) return no("not_a_member");
  if (record.outcome !== null) return no("late", groups);
  if (record.votes.some((vote) => vote.refused === undefined && vote.voter === voter.name)) return no("duplicate", groups);
  return digest === request.digest ? { refusal: null, groups } : no("other_command", groups);
}

/** What keeps a person out of this approval whatever his groups are (GW-11). */
function exclusionOf({ asker }: ApprovalFacts, name: string, electorate: Electorate): VoteRefusal | null {
  const human = electorate.humans.get(name);
  if (human === undefined) return "not_human";
  if (name === asker.identity) return "requester";
  if (electorate.revoked.has(name)) return "revoked";
  if (isSubject(human, asker.workload)) return "requester";
  if (isActor(human, asker.workload)) return "actor";
  return electorate.editors.has(name) ? "rule_editor" : null;
}

/** The job ran with a token that the human's own declaration names. */
const isSubject = ({ match }: IdentityDeclaration, workload: Workload): boolean =>
  match.some(({ issuer, claims }) => issuer === workload.issuer && (claims["sub"] ?? []).includes(workload.subject));

/** Names compare without case, as the providers' logins do; ids exactly. */
const same = (a: string | undefined, b: string | undefined): boolean =>
  a !== undefined && b !== undefined && a.toLowerCase() === b.toLowerCase();

const sameActor = (a: Workload, b: Workload): boolean =>
  a.issuer === b.issuer && ((a.actor_id !== undefined && a.actor_id === b.actor_id) || same(a.actor, b.actor));

/**
 * The person who started the run: his name in the bundle, an account of his, or a claim of his declaration is the run's
 * actor. Claims are compared whatever their names and issuers are: a claim that happens to be equal excludes one
 * person too many, which is the safe side.
 */
function isActor({ name, match, chat }: IdentityDeclaration, { actor, actor_id }: Workload): boolean {
  if (actor === undefined && actor_id === undefined) return false;
  const values = [name, ...chat.map(({ user }) => user), ...match.flatMap(({ claims }) => Object.values(claims).flat())];
  return values.some((value) => same(value, actor) || (actor_id !== undefined && value === actor_id));
}

/** Counts all votes for consent anew, with the people as they are now. */
function count(facts: ApprovalFacts, record: ApprovalRecord, needs: readonly ApprovalNeed[], electorate: Electorate) {
  const voters = record.votes
    .filter(({ vote, refused }) => vote === "approve" && refused === undefined)
    .filter(({ voter }) => exclusionOf(facts, voter, electorate) === null);
  const by = new Set<string>();
  const missing: { group: string; missing: number }[] = [];
  for (const { group, min } of needs) {
    const members = new Set(voters.map(({ voter }) => voter).filter((voter) => electorate.humans.get(voter)?.groups.includes(group)));
    for (const member of members) by.add(member);
    if (members.size < min) missing.push({ group, missing: min - members.size });
  }
  return { by: [...by], missing };
}

// ── later use ──

/**
 * What of a job stays the same from run to run: source, definition, environment and branch, never the run. Where the
 * provider names no repository, its subject.
 */
export function pipelineKey({ provider, issuer, subject, owner_id, repository_id, workflow, environment, ref }: Workload): string {
  const source = repository_id === undefined ? ["subject", subject] : ["repository", repository_id];
  return JSON.stringify([provider, issuer, owner_id ?? "", ...source, workflow ?? "", environment ?? "", ref ?? ""]);
}

export interface Claimed {
  readonly record: ApprovalRecord;
  /** Who consented; null: not to be used so. */
  readonly by: readonly string[] | null;
}

/** Once, until it expires, by the same identity and pipeline for the same command; the votes are counted against what policy needs now. */
export function use(facts: ApprovalFacts, record: ApprovalRecord, claim: UseClaim, electorate: Electorate, now: number): Claimed {
  const { request, asker, expires_at } = facts;
  const refused: Claimed = { record, by: null };
  if (record.outcome?.state !== "approved" || request.mode !== "later") return refused;
  if (record.use !== null) return record.use.by === claim.by ? { record, by: record.outcome.by } : refused;
  if (now >= expires_at || claim.needs.length === 0) return refused;
  const fits =
    claim.identity === asker.identity &&
    claim.pipeline === pipelineKey(asker.workload) &&
    claim.target === request.subject.target &&
    claim.digest === request.digest;
  if (!fits) return refused;
  const tally = count(facts, record, claim.needs, electorate);
  if (tally.missing.length > 0) return refused;
  return { record: { ...record, use: { by: claim.by, at: now } }, by: tally.by };
}

/** A new request that runs by an earlier one's consent: approved and used in one. */
export function consented(facts: ApprovalFacts, earlier: string, by: readonly string[], now: number): ApprovalRecord {
  const { approval, needs } = facts.request;
  return {
    ...OPEN,
    outcome: { state: "approved", at: now, groups: needs.map(({ group }) => group), by: [...by], reason: `by the consent of ${earlier}` },
    use: { by: approval, at: now },
    consentOf: earlier,
  };
}
