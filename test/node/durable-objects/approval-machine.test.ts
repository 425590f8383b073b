/** The rules of an approval, case by case; and against a model, over any sequence of votes, changes of people and time. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { castVote, consented, expire, OPEN, pipelineKey, stateOf, use, withdraw } from "../../../durable-objects/approval/machine.ts";
import type { ApprovalRecord, Ballot, Electorate, UseClaim } from "../../../durable-objects/approval/facts.ts";
import { MAX_REFUSED_VOTES } from "../../../protocol/limits.ts";
import { by, DIGEST, electorate, facts, human, OPENED, TTL, workload } from "./approval-world.ts";

const PEOPLE = [human("mira", ["dba"]), human("noor", ["dba", "security"]), human("otis", ["security"]), human("pia", ["ops"])];
const NOW = OPENED + 10;

const vote = (ballot: Ballot, record: ApprovalRecord = OPEN, about = facts(), people: Electorate = electorate(PEOPLE), now = NOW) =>
  castVote(about, record, ballot, people, now);

/** The reason for which a vote was refused, and that it was kept and changed nothing else. */
function refusalOf(ballot: Ballot, record: ApprovalRecord = OPEN, about = facts(), people: Electorate = electorate(PEOPLE), now = NOW) {
  const { record: after, verdict } = vote(ballot, record, about, people, now);
  if (verdict.counted) return "counted";
  expect(after.votes.at(-1)).toMatchObject({ refused: verdict.refusal, vote: ballot.vote, door: ballot.door });
  expect(after.outcome).toEqual(expire(about, record, now).outcome);
  return verdict.refusal;
}

describe("one vote", () => {
  test("consent of a member ends it approved, with the groups for the policy and the name", () => {
    const { record, verdict } = vote(by("mira"));
    expect(verdict).toEqual({ counted: true, state: "approved", missing: [] });
    expect(record.outcome).toEqual({ state: "approved", at: NOW, groups: ["dba"], by: ["mira"] });
  });

  test("a denial ends it denied, with its reason, though others would consent", () => {
    const about = facts({ needs: [{ group: "dba", min: 2 }] });
    const first = vote(by("mira"), OPEN, about).record;
    const { record } = vote(by("noor", "deny", { reason: "not before the backup" }), first, about);
    expect(record.outcome).toEqual({ state: "denied", at: NOW, groups: [], by: ["noor"], reason: "not before the backup" });
  });

  test("GW-13 what a voter writes is shown in terminals: nothing in it acts there", () => {
    const { record } = vote(by("mira", "deny", { reason: "no\u001b[2K\u202e\nsee \ud800" }));
    expect(record.outcome?.reason).toBe("no\\x1b[2K\\u{202e}\\nsee \\u{d800}");
    const stranger = vote(by("x", "approve", { voter: { kind: "unmapped", account: "webhook a\u0007" } }));
    expect(stranger.record.votes[0]?.voter).toBe("webhook a\\x07");
  });

  test("counts for every needed group of the voter, and for no other", () => {
    const about = facts({
      needs: [
        { group: "dba", min: 1 },
        { group: "security", min: 2 },
      ],
    });
    const first = vote(by("noor"), OPEN, about);
    expect(first.verdict).toEqual({ counted: true, state: "pending", missing: [{ group: "security", missing: 1 }] });
    expect(first.record.votes[0]?.groups.toSorted()).toEqual(["dba", "security"]);
    expect(vote(by("otis"), first.record, about).record.outcome).toMatchObject({
      state: "approved",
      groups: ["dba", "security"],
      by: ["noor", "otis"],
    });
  });

  test("min counts different people", () => {
    const about = facts({ needs: [{ group: "dba", min: 2 }] });
    const first = vote(by("mira"), OPEN, about).record;
    expect(refusalOf(by("mira"), first, about)).toBe("duplicate");
    expect(vote(by("noor"), first, about).verdict).toMatchObject({ state: "approved" });
  });

  test("a changed mind: the first vote stands", () => {
    const about = facts({ needs: [{ group: "dba", min: 2 }] });
    expect(refusalOf(by("mira", "deny"), vote(by("mira"), OPEN, about).record, about)).toBe("duplicate");
  });
});

describe("GW-11 who may not", () => {
  test.each<[string, string, Ballot, ReturnType<typeof facts>, Electorate]>([
    [
      "an account that the bundle maps to nobody",
      "unmapped",
      by("x", "approve", { voter: { kind: "unmapped", account: "slack T1/U9" } }),
      facts(),
      electorate(PEOPLE),
    ],
    ["a machine", "not_human", by("billing-ci"), facts(), electorate(PEOPLE)],
    ["a human of none of the groups", "not_a_member", by("pia"), facts(), electorate(PEOPLE)],
    ["the identity that asks", "requester", by("mira"), facts({ identity: "mira" }), electorate(PEOPLE)],
    ["the identity that asks, a machine", "requester", by("orders-ci"), facts(), electorate(PEOPLE)],
    [
      "the human whose own token the job runs with",
      "requester",
      by("mira"),
      facts({ workload: workload({ issuer: "https://login.example.com", subject: "id-mira" }) }),
      electorate(PEOPLE),
    ],
    [
      "the holder of the very token that asks, as another identity",
      "requester",
      by("mira", "approve", { voter: { kind: "identity", name: "mira", workload: workload() } }),
      facts(),
      electorate(PEOPLE),
    ],
    [
      "the run's actor by the name in the bundle",
      "actor",
      by("mira"),
      facts({ workload: workload({ actor: "Mira" }) }),
      electorate(PEOPLE),
    ],
    [
      "the run's actor by a claim",
      "actor",
      by("mira"),
      facts(),
      electorate([
        human("mira", ["dba"], {
          match: [{ issuer: "https://login.example.com", claims: { github_id: ["4711"] }, allow_weak_match: true }],
        }),
      ]),
    ],
    [
      "the run's actor by an account",
      "actor",
      by("mira"),
      facts(),
      electorate([human("mira", ["dba"], { chat: [{ kind: "webhook", user: "LENA-codes" }] })]),
    ],
    [
      "the run's actor by the voter's own token",
      "actor",
      by("mira", "approve", { voter: { kind: "identity", name: "mira", workload: workload({ subject: "someone", actor: "other-name" }) } }),
      facts(),
      electorate(PEOPLE),
    ],
    ["who published the bundle", "rule_editor", by("mira"), facts(), electorate(PEOPLE, { editors: new Set(["mira"]) })],
    ["a revoked human", "revoked", by("mira"), facts(), electorate(PEOPLE, { revoked: new Set(["mira"]) })],
    ["who was shown another command", "other_command", by("mira", "approve", { digest: "b".repeat(64) }), facts(), electorate(PEOPLE)],
  ])("%s", (_, refusal, ballot, about, people) => {
    expect(refusalOf(ballot, OPEN, about, people)).toBe(refusal);
    // Nor may such a one end it by a denial.
    expect(refusalOf({ ...ballot, vote: "deny" }, OPEN, about, people)).toBe(refusal);
    // The control: a member with nothing against him.
    expect(refusalOf(by("noor"), OPEN, about, electorate(PEOPLE))).toBe("counted");
  });

  test("refused attempts that are kept are bounded, and the rest counted", () => {
    let record = OPEN;
    for (let n = 0; n < MAX_REFUSED_VOTES + 7; n += 1) record = vote(by("pia"), record).record;
    expect(record.votes).toHaveLength(MAX_REFUSED_VOTES);
    expect(record.notKept).toBe(7);
    expect(vote(by("mira"), record).verdict).toMatchObject({ counted: true, state: "approved" });
  });
});

describe("GW-12 time and change", () => {
  test("the last moment counts, the moment of expiry does not", () => {
    expect(refusalOf(by("mira"), OPEN, facts(), electorate(PEOPLE), OPENED + TTL - 1)).toBe("counted");
    const late = vote(by("mira"), OPEN, facts(), electorate(PEOPLE), OPENED + TTL);
    expect(late.verdict).toEqual({ counted: false, refusal: "late", state: "expired" });
    expect(late.record.outcome).toMatchObject({ state: "expired", by: [] });
  });

  test("two votes at expiry: none runs", () => {
    const about = facts({ needs: [{ group: "dba", min: 2 }] });
    const first = vote(by("mira"), OPEN, about, electorate(PEOPLE), OPENED + TTL - 1).record;
    expect(stateOf(vote(by("noor"), first, about, electorate(PEOPLE), OPENED + TTL).record)).toBe("expired");
  });

  test("a voter who left the group meanwhile does not count, who came back does", () => {
    const about = facts({ needs: [{ group: "dba", min: 2 }] });
    const first = vote(by("mira"), OPEN, about).record;
    const without = electorate([human("mira", ["ops"]), ...PEOPLE.slice(1), human("quin", ["dba"])]);
    const second = vote(by("noor"), first, about, without);
    expect(second.verdict).toEqual({ counted: true, state: "pending", missing: [{ group: "dba", missing: 1 }] });
    expect(vote(by("quin"), second.record, about, without).record.outcome).toMatchObject({ state: "approved", by: ["noor", "quin"] });
    const back = electorate([...PEOPLE, human("quin", ["dba"])]);
    expect(vote(by("quin"), second.record, about, back).record.outcome?.by.toSorted()).toEqual(["mira", "noor", "quin"]);
  });

  test.each(["revoked", "editors"] as const)("a voter who is %s by the time of the outcome does not count", (how) => {
    const about = facts({ needs: [{ group: "dba", min: 2 }] });
    const first = vote(by("mira"), OPEN, about).record;
    expect(vote(by("noor"), first, about, electorate(PEOPLE, { [how]: new Set(["mira"]) })).verdict).toMatchObject({ state: "pending" });
  });

  test("what has ended stays as it ended", () => {
    const denied = vote(by("mira", "deny")).record;
    expect(refusalOf(by("noor"), denied)).toBe("late");
    expect(withdraw(facts(), denied, "gone", NOW)).toBe(denied);
    expect(expire(facts(), denied, OPENED + TTL)).toBe(denied);
    const withdrawn = withdraw(facts(), OPEN, "the client cancelled", NOW);
    expect(withdrawn.outcome).toEqual({ state: "withdrawn", at: NOW, groups: [], by: [], reason: "the client cancelled" });
    expect(withdraw(facts(), OPEN, "late", OPENED + TTL).outcome?.state).toBe("expired");
  });
});

describe("later use", () => {
  const about = facts({ mode: "later" });
  const approved = vote(by("mira"), OPEN, about).record;
  const claim: UseClaim = {
    by: "apr_next",
    identity: "orders-ci",
    pipeline: pipelineKey(workload({ run_id: "1002", sha: "ffff", actor: "somebody-else" })),
    target: "orders-db",
    digest: DIGEST,
    needs: about.request.needs,
  };
  const tryUse = (more: Partial<UseClaim> = {}, people = electorate(PEOPLE), now = NOW, record = approved) =>
    use(about, record, { ...claim, ...more }, people, now);

  test("once, by a later run of the same pipeline", () => {
    const first = tryUse();
    expect(first).toMatchObject({ by: ["mira"], record: { use: { by: "apr_next", at: NOW } } });
    expect(tryUse({ by: "apr_other" }, electorate(PEOPLE), NOW, first.record).by).toBeNull();
    expect(tryUse({}, electorate(PEOPLE), NOW, first.record).by).toEqual(["mira"]);
  });

  test.each<[string, Partial<UseClaim>]>([
    ["another identity", { identity: "billing-ci" }],
    ["another repository", { pipeline: pipelineKey(workload({ repository_id: "78" })) }],
    ["another branch", { pipeline: pipelineKey(workload({ ref: "refs/heads/evil" })) }],
    ["another workflow", { pipeline: pipelineKey(workload({ workflow: "other" })) }],
    ["another environment", { pipeline: pipelineKey(workload({ environment: "staging" })) }],
    ["another target", { target: "billing-db" }],
    ["another command", { digest: "b".repeat(64) }],
    ["a rule that now needs more", { needs: [{ group: "dba", min: 2 }] }],
    ["a rule that now needs others", { needs: [{ group: "security", min: 1 }] }],
    ["no need at all", { needs: [] }],
  ])("not for %s", (_, more) => {
    expect(tryUse(more)).toEqual({ record: approved, by: null });
  });

  test("not after its time, not with a voter who is gone, not when it was waited for, not before it is approved", () => {
    expect(tryUse({}, electorate(PEOPLE), OPENED + TTL).by).toBeNull();
    expect(tryUse({}, electorate(PEOPLE.slice(1))).by).toBeNull();
    expect(use(facts(), approved, claim, electorate(PEOPLE), NOW).by).toBeNull();
    expect(tryUse({}, electorate(PEOPLE), NOW, OPEN).by).toBeNull();
  });

  test("the request that it goes to is approved and used in one", () => {
    const next = consented(facts({ mode: "later", id: `apr_${"1".repeat(26)}` }), "apr_first", ["mira"], NOW);
    expect(next).toMatchObject({ outcome: { state: "approved", by: ["mira"] }, consentOf: "apr_first" });
    expect(tryUse({}, electorate(PEOPLE), NOW, next).by).toBeNull();
  });

  test("without a repository the subject is the pipeline", () => {
    const bare = { provider: "oidc", issuer: "https://i", subject: "a" } as const;
    expect(pipelineKey(bare)).not.toBe(pipelineKey({ ...bare, subject: "b" }));
    expect(pipelineKey(bare)).not.toBe(pipelineKey({ ...bare, repository_id: "a" }));
  });
});

// ── against a model ──

const NAMES = ["mira", "noor", "otis", "pia"] as const;
const GROUPS = ["dba", "security"] as const;
const step = fc.oneof(
  fc.record({
    do: fc.constant("vote" as const),
    who: fc.constantFrom(...NAMES, "nobody"),
    vote: fc.constantFrom("approve" as const, "approve" as const, "deny" as const),
    right: fc.boolean(),
  }),
  fc.record({ do: fc.constant("move" as const), who: fc.constantFrom(...NAMES), groups: fc.subarray([...GROUPS]) }),
  fc.record({ do: fc.constant("revoke" as const), who: fc.constantFrom(...NAMES) }),
  fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: TTL }) }),
  fc.record({ do: fc.constant("withdraw" as const) }),
);
const needs = fc.uniqueArray(fc.record({ group: fc.constantFrom(...GROUPS), min: fc.integer({ min: 1, max: 3 }) }), {
  minLength: 1,
  selector: ({ group }) => group,
});

test("any sequence: approved exactly when enough different members of that moment consented in time and nobody ended it before", () => {
  fc.assert(
    fc.property(needs, fc.array(step, { maxLength: 25 }), (needed, steps) => {
      const about = facts({ needs: needed });
      const groups = new Map<string, readonly string[]>(NAMES.map((name) => [name, [...GROUPS]]));
      const revoked = new Set<string>();
      const consent = new Set<string>();
      let record = OPEN;
      let ended: string | null = null;
      let now = OPENED;
      for (const each of steps) {
        if (each.do === "move") groups.set(each.who, each.groups);
        if (each.do === "revoke") revoked.add(each.who);
        if (each.do === "wait") now += each.ms;
        if (ended === null && now >= about.expires_at) ended = "expired";
        const people = electorate(
          [...groups].map(([name, mine]) => human(name, [...mine])),
          { revoked },
        );
        const before = record;
        if (each.do === "withdraw") {
          record = withdraw(about, record, "x", now);
          ended ??= "withdrawn";
        }
        if (each.do === "vote") {
          record = castVote(about, record, by(each.who, each.vote, { digest: each.right ? DIGEST : "b".repeat(64) }), people, now).record;
          const counts = (name: string, group: string) => !revoked.has(name) && (groups.get(name) ?? []).includes(group);
          const may = each.right && !consent.has(each.who) && needed.some(({ group }) => counts(each.who, group));
          if (ended === null && may && each.vote === "deny") ended = "denied";
          if (ended === null && may && each.vote === "approve") {
            consent.add(each.who);
            if (needed.every(({ group, min }) => [...consent].filter((name) => counts(name, group)).length >= min)) ended = "approved";
          }
          // Every attempt is on record.
          expect(record.votes.length).toBe(before.votes.length + 1);
        }
        record = expire(about, record, now);
        expect(stateOf(record)).toBe(ended ?? "pending");
        if (before.outcome !== null) expect(record.outcome).toBe(before.outcome);
      }
    }),
    { numRuns: 400 },
  );
});
