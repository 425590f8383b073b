/**
 * Every attempt of the corpus against a real server, through the gateway with masking on: nothing that a client gets
 * depends on a classified value, and each attempt ends as the corpus says. controls.test.ts shows that the same oracle finds
 * the leaks where nothing masks.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compileBundle } from "../../../../policy/cedar.node.ts";
import type { MaskingRules, Resource } from "../../../../policy/types.ts";
import { startGateway, TARGET, type Gateway } from "../support.ts";
import { attempt, type Answer, type Outcome } from "./attempt.ts";
import { corpus, mayChange, textOf, type Attempt } from "./corpus.ts";
import { startDatabases, type Databases } from "./databases.ts";
import { leaked } from "./sentinels.ts";

/** Everything but other people's code, server files, other sessions' data and administration. */
const ATTACKER = `name: attacker
owner: somebody
purpose: has a valid identity, and much is allowed to it
match: { provider: oidc, claims: { sub: attacker } }
grants:
  - { target: ${TARGET}, actions: [pg:read, pg:write, pg:ddl, pg:maintenance, pg:messages, pg:set] }
`;
const GATEWAY = "audience: https://gate.test\nissuers: [{ provider: oidc, issuer: https://issuer.test }]\n";

const compiled = compileBundle({
  "gateway.yaml": GATEWAY,
  "masking.yaml": textOf("masking.yaml"),
  "identities/attacker.yaml": ATTACKER.replace("claims: {", "allow_weak_match: true, claims: {"),
});
if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
const policy = compiled.value;
const rules: MaskingRules = policy.masking;
const workload = { provider: "oidc", issuer: "https://issuer.test", subject: "attacker" } as const;
const facts = { name: TARGET, protocol: "postgres", labels: [] };

const rule = (action: string, resource: Resource) =>
  policy.decide({ identity: "attacker", action, resource, context: { approvals: [], workload, now: Date.now() } }, facts).outcome;

let databases: Databases;
/** Used until an attempt may have changed it. */
let pair: Pair | undefined;
beforeAll(async () => {
  databases = await startDatabases();
}, 60_000);
afterAll(async () => {
  await pair?.close();
  await databases.stop();
});

interface Pair {
  readonly names: readonly [string, string];
  readonly gateways: readonly [Gateway, Gateway];
  close(): Promise<void>;
}

async function openPair(): Promise<Pair> {
  const names = await databases.pair();
  const open = async (database: string): Promise<Gateway> =>
    startGateway({ postgres: { ...databases.server, superuser: databases.owner }, rule, masking: rules, config: { database } });
  const gateways = [await open(names[0]), await open(names[1])] as const;
  return {
    names,
    gateways,
    async close() {
      for (const gateway of gateways) await gateway.stop();
      await databases.drop(names);
    },
  };
}

async function both(one: Attempt, { names, gateways }: Pair): Promise<readonly [Outcome, Outcome]> {
  const on = async (index: 0 | 1): Promise<Outcome> => attempt(gateways[index].port, one, async (sql) => databases.run(names[index], sql));
  return [await on(0), await on(1)];
}

const GONE: Answer = { error: null, message: "", rows: 0, closed: true };

/** What the answer is, in the corpus's words. */
function judged({ error, message, rows, closed }: Answer, expected: string): string {
  if (closed) return error !== null && expected === "closed" ? "closed" : `closed: ${error} ${message}`;
  switch (expected) {
    case "safe":
      return "safe";
    case "refused":
      return error === "42501" ? "refused" : (error ?? `${rows} rows`);
    case "masked":
      return error === null && rows > 0 ? "masked" : `${error ?? "no rows"} ${message}`;
    case "ok":
      return error === null ? "ok" : `${error} ${message}`;
    case "none":
      return error === null && rows === 0 ? "none" : `${error ?? `${rows} rows`} ${message}`;
    case "error":
      return error === null ? "no error" : "error";
    default:
      return error === null ? "no error" : `E:${error}`;
  }
}

describe.each(corpus)("$file: $name ($hazard)", ({ attempts }) => {
  it.each(attempts)("$title", async (one) => {
    pair ??= await openPair();
    const [first, second] = await both(one, pair);
    if (mayChange(one) && [...first.answers, ...second.answers].some(({ error }) => error === null)) {
      await pair.close();
      pair = undefined;
    }
    expect(leaked(first.bytes, one.title), first.transcript).toBeUndefined();
    expect(second.transcript).toBe(first.transcript);
    const answers = one.expected.map((expected, index) => judged(first.answers[index] ?? GONE, expected));
    expect(answers).toEqual(one.expected);
  });
});
