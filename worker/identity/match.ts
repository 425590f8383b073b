/**
 * Which identity of the bundle a verified token is. Pure.
 *
 * A match entry holds when its issuer is exactly the token's (GW-05) and every listed claim of the token equals one
 * of the listed values, as text (providers/adapter.ts, `resolveClaim`). No wildcards, no prefixes, no `sub` parsing (GW-06).
 * Then the guards: the provider's (pull requests, forks, SSH re-runs) and the one for production below.
 *
 * Two identities matching one token is a refusal that names both: whichever was meant, the other one's owner did
 * not expect it, and an order of files must not decide who someone is.
 */
import type { Claims } from "../../protocol/provider-claims.ts";
import { err, ok, type Result } from "../../protocol/result.ts";
import type { Workload } from "../../protocol/workload.ts";
import type { IdentityDeclaration } from "../../policy/types.ts";
import { resolveClaim, type Guard } from "./providers/adapter.ts";
import { ADAPTERS } from "./providers/index.ts";

type MatchEntry = IdentityDeclaration["match"][number];

/** The reason of a failure names identities and guards: for the audit, never for the client. */
export function matchIdentity(
  identities: Iterable<IdentityDeclaration>,
  claims: Claims,
  workload: Workload,
): Result<IdentityDeclaration, string> {
  const matched: IdentityDeclaration[] = [];
  const guarded: string[] = [];
  for (const identity of identities) {
    const entries = identity.match.filter((entry) => holds(entry, claims, workload));
    if (entries.length === 0) continue;
    const refusals = entries.map((entry) => guardRefusal(identity, entry, claims, workload));
    if (refusals.includes(null)) matched.push(identity);
    else guarded.push(`${identity.name}: ${refusals.join("; ")}`);
  }
  const [only, ...others] = matched;
  if (only !== undefined && others.length === 0) return ok(only);
  if (only !== undefined) return err(`ambiguous: identities ${matched.map((identity) => identity.name).join(", ")} all match this token`);
  if (guarded.length > 0) return err(`matched but guarded: ${guarded.join(" | ")}`);
  return err(`no identity's match holds for this ${workload.provider} token`);
}

function holds(entry: MatchEntry, claims: Claims, workload: Workload): boolean {
  if (entry.issuer !== workload.issuer) return false;
  const wanted = Object.entries(entry.claims);
  // A match of no claims would admit everyone the issuer signs for; the linter refuses it, and so does this unless it is written out.
  if (wanted.length === 0) return entry.allow_weak_match;
  return wanted.every(([name, values]) => {
    const value = resolveClaim(claims, name);
    return value !== undefined && values.includes(value);
  });
}

/** Null: no guard objects to this token under this entry. */
function guardRefusal(identity: IdentityDeclaration, entry: MatchEntry, claims: Claims, workload: Workload): string | null {
  for (const guard of [...ADAPTERS[workload.provider].guards, ...houseGuards(identity, workload)]) {
    const why = guard.refuses(claims);
    if (why === null) continue;
    // The entry holds, so a claim that it lists has one of the values that it lists: the admin asked for this one.
    if (guard.lift !== undefined && Object.hasOwn(entry.claims, guard.lift)) continue;
    return `${guard.rule}: ${why}${guard.lift === undefined ? "" : ` (list ${guard.lift} in the match to accept it)`}`;
  }
  return null;
}

/** An identity declared for production is not reached from a ref that anyone with write access can push to. */
function houseGuards(identity: IdentityDeclaration, workload: Workload): readonly Guard[] {
  if (identity.environment !== "production" || workload.ref_protected !== "false") return [];
  return [{ rule: "unprotected-ref", lift: "ref_protected", refuses: () => "the identity is for production and the ref is not protected" }];
}
