/** What the tests of an approval's rules share: people, a request, ballots. */
import type { ApprovalFacts, Ballot, Electorate } from "../../../durable-objects/approval/facts.ts";
import type { IdentityDeclaration } from "../../../policy/types.ts";
import type { ApprovalNeed } from "../../../protocol/approval.ts";
import type { Workload } from "../../../protocol/workload.ts";

export const DIGEST = "a".repeat(64);
export const OPENED = 1_000_000;
export const TTL = 60_000;

export const workload = (more: Partial<Workload> = {}): Workload => ({
  provider: "github",
  issuer: "https://token.actions.githubusercontent.com",
  subject: "repo:shop/orders",
  repository_id: "77",
  owner_id: "1",
  ref: "refs/heads/main",
  environment: "production",
  workflow: "shop/orders/.github/workflows/deploy.yaml@refs/heads/main",
  run_id: "1001",
  actor: "lena-codes",
  actor_id: "4711",
  ...more,
});

export function facts(
  more: {
    needs?: ApprovalNeed[];
    workload?: Workload;
    identity?: string;
    mode?: "wait" | "later";
    id?: string;
    digest?: string;
    target?: string;
  } = {},
): ApprovalFacts {
  const target = more.target ?? "orders-db";
  return {
    request: {
      approval: more.id ?? `apr_${"0".repeat(26)}`,
      session: "ses_1",
      command: 3,
      mode: more.mode ?? "wait",
      subject: {
        kind: "command",
        target,
        protocol: "postgres",
        statements: [{ text: "ALTER TABLE orders ADD note text" }],
        environment: {},
        objects: [],
      },
      digest: more.digest ?? DIGEST,
      effects: [],
      needs: more.needs ?? [{ group: "dba", min: 1 }],
      policies: ["ddl-held"],
      reason: "Changes of tables wait for a DBA.",
      bundle: 1,
      ttl: TTL,
      in_transaction: false,
    },
    asker: {
      identity: more.identity ?? "orders-ci",
      workload: more.workload ?? workload(),
      site: "north",
      agent: "agt_1",
      gateway: "https://gate.test",
      tell: "site",
    },
    requested_at: OPENED,
    expires_at: OPENED + TTL,
  };
}

export const human = (name: string, groups: string[], more: Partial<IdentityDeclaration> = {}): IdentityDeclaration => ({
  name,
  kind: "human",
  owner: `${name}@example.com`,
  purpose: "test",
  groups,
  hold: "wait",
  chat: [],
  match: [{ issuer: "https://login.example.com", claims: { sub: [`id-${name}`] }, allow_weak_match: true }],
  file: "identities/people.yaml",
  ...more,
});

export const electorate = (people: readonly IdentityDeclaration[], more: Partial<Electorate> = {}): Electorate => ({
  bundle: 1,
  humans: new Map(people.map((person) => [person.name, person])),
  editors: new Set(),
  revoked: new Set(),
  ...more,
});

export const by = (name: string, vote: "approve" | "deny" = "approve", more: Partial<Ballot> = {}): Ballot => ({
  voter: { kind: "account", name },
  door: "slack",
  vote,
  digest: DIGEST,
  ...more,
});
