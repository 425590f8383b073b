/**
 * Is an identity's match strong? A match must hold an immutable id of its provider; `sub` alone, display names and
 * wildcards are refused unless the entry says `allow_weak_match: true`, which then is the reviewer's to see.
 */
import type { Rule } from "../rules.ts";
import type { IdentityFile } from "../bundle/identity.ts";
import { problem } from "../problem.ts";
import { DISPLAY_CLAIMS, PROVIDERS, type Provider } from "../providers.ts";
import type { GatewayConfig, IdentityDeclaration, Problem } from "../types.ts";

type MatchEntry = IdentityDeclaration["match"][number];

const PRODUCTION = new Set(["production", "prod"]);

/** Why the entry is weak, and what to write; undefined when it is strong. */
function weakness(entry: MatchEntry, provider: Provider): string | undefined {
  const names = Object.keys(entry.claims);
  for (const name of names) {
    const wild = entry.claims[name]?.find((value) => /[*?]/.test(value));
    if (wild !== undefined)
      return `claims are compared exactly and ${JSON.stringify(wild)} looks like a wildcard: list the values of ${name} one by one`;
  }
  const { immutable } = PROVIDERS[provider];
  if (immutable.some((set) => set.every((claim) => names.includes(claim)))) return undefined;
  if (immutable.length > 0) {
    const wanted = immutable.map((set) => set.join(" with ")).join(", or ");
    return `${names.every((name) => name === "sub") ? "sub alone is not an identity" : `these claims hold no immutable id of ${provider}`}: add ${wanted}`;
  }
  if (names.every((name) => name === "sub" || DISPLAY_CLAIMS.has(name)) && !(names.includes("sub") && names.length > 1)) {
    return `${names.length === 1 && names[0] === "sub" ? "sub alone is not an identity" : "these claims can be changed or reassigned"}: add a claim that the issuer never reassigns, such as oid, or sub beside another claim`;
  }
  return undefined;
}

export function lintIdentity(identity: IdentityFile, gateway: GatewayConfig): readonly Problem[] {
  const { declaration } = identity;
  const problems: Problem[] = [];
  const say = (severity: Problem["severity"], rule: Rule, path: readonly PropertyKey[], message: string): void => {
    problems.push(problem(severity, rule, declaration.file, message, identity.locate(path)));
  };
  for (const [index, entry] of declaration.match.entries()) {
    const provider = gateway.issuers.find((issuer) => issuer.issuer === entry.issuer)?.provider;
    if (provider === undefined) continue;
    const path = ["match", index];
    const facts = PROVIDERS[provider];
    const weak = weakness(entry, provider);
    if (weak !== undefined && !entry.allow_weak_match)
      say("error", "match-weak", [...path, "claims"], `${weak}; or write allow_weak_match: true and answer for it`);
    if (weak === undefined && entry.allow_weak_match)
      say(
        "warning",
        "match-strong",
        [...path, "allow_weak_match"],
        "this match is strong: remove allow_weak_match, which would hide a later slip",
      );
    if (
      PRODUCTION.has(declaration.environment ?? "") &&
      facts.ref.length > 0 &&
      !facts.ref.some((claim) => Object.hasOwn(entry.claims, claim))
    ) {
      say(
        "warning",
        "ref-unpinned",
        [...path, "claims"],
        `a production identity that any branch can take: add ${facts.ref[0]}, such as ${provider === "github" ? "refs/heads/main" : "the protected branch"}`,
      );
    }
    const { event } = facts;
    const outsiders = event === undefined ? [] : (entry.claims[event.claim] ?? []).filter((value) => event.outsiders.includes(value));
    if (event !== undefined && outsiders.length > 0) {
      say(
        "warning",
        "event-outsider",
        [...path, "claims", event.claim],
        `${outsiders.join(" and ")} may run code of somebody without write access: remove it, or keep this identity's grants harmless`,
      );
    }
  }
  return problems;
}

/** Every token that `wide` accepts for the claims it names may be one that `narrow` accepts: such a token is refused for both. */
function covers(wide: MatchEntry, narrow: MatchEntry): boolean {
  return (
    wide.issuer === narrow.issuer &&
    Object.entries(wide.claims).every(([name, values]) => (narrow.claims[name] ?? []).some((value) => values.includes(value)))
  );
}

/** A token that fits two identities is refused, since neither owner expected the other. */
export function lintOverlaps(identities: readonly IdentityFile[]): readonly Problem[] {
  return identities.flatMap((identity, at) =>
    identity.declaration.match.flatMap((entry, index) => {
      const other = identities.find((each, other) => other !== at && each.declaration.match.some((wide) => covers(wide, entry)));
      if (other === undefined) return [];
      const message = `a token that fits this also fits ${other.declaration.name} (${other.declaration.file}), and a token of two identities is refused: tell them apart by a claim`;
      return [problem("error", "match-overlap", identity.declaration.file, message, identity.locate(["match", index]))];
    }),
  );
}
