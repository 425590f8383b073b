/**
 * What one provider's adapter is: the reading of its claims into the one vocabulary (protocol/workload.ts), and its
 * guards. Pure: claims in, data out.
 *
 * A guard is a default that denies: it names a situation in which the provider's token should not open anything,
 * although signature and match are right (a pull request, a fork, a human in the job's shell). A guard with `lift`
 * stands aside when the identity's own match lists that claim, since the admin then asked for it in writing.
 */
import { PROVIDERS } from "../../../policy/providers.ts";
import type { Claims, Provider } from "../../../protocol/provider-claims.ts";
import { err, ok, type Result } from "../../../protocol/result.ts";
import { Workload } from "../../../protocol/workload.ts";

export interface Guard {
  /** Stable name, for the audit reason and docs/identity.md. */
  readonly rule: string;
  /** Why the token is refused, for the audit; null when the situation does not arise. */
  readonly refuses: (claims: Claims) => string | null;
  /** The claim that a match must list to lift the guard; absent: nothing lifts it. */
  readonly lift?: string;
}

export interface ProviderAdapter {
  readonly provider: Provider;
  /** Claims without which the token is no token of this provider; their absence is a refusal. */
  readonly required: readonly string[];
  /** Everything but provider, issuer and subject, which are the same for all. Absent values are left out. */
  readonly read: (claims: Claims) => Partial<Record<keyof Workload, string | undefined>>;
  readonly guards: readonly Guard[];
}

/**
 * A claim's text: a string as it is, a number or boolean in its JSON form, everything else (null, arrays, objects, an
 * inherited property) is absent. Matching compares these texts, so `17` and `"17"` are the same, `[17]` is neither.
 */
export function claimText(claims: Claims, name: string): string | undefined {
  const value = Object.hasOwn(claims, name) ? claims[name] : undefined;
  switch (typeof value) {
    case "string":
      return value;
    case "number":
    case "boolean":
      return JSON.stringify(value);
    default:
      return undefined;
  }
}

/** A claim's text, absent when empty: providers write "" for "none" (GitHub's head_ref outside pull requests). */
export const presentText = (claims: Claims, name: string): string | undefined => claimText(claims, name) || undefined;

export function readWorkload(adapter: ProviderAdapter, claims: Claims): Result<Workload, string> {
  const issuer = presentText(claims, "iss");
  const subject = presentText(claims, "sub");
  if (issuer === undefined || subject === undefined) return err("the token has no iss or no sub");
  const missing = adapter.required.filter((name) => resolveClaim(claims, name) === undefined);
  if (missing.length > 0) return err(`a ${adapter.provider} token without ${missing.join(", ")}`);

  const fields: Record<string, string> = { provider: adapter.provider, issuer, subject };
  for (const [field, value] of Object.entries(adapter.read(claims))) if (value !== undefined) fields[field] = value;
  const workload = Workload.safeParse(fields);
  if (workload.success) return ok(workload.data);
  return err(`claims do not fit the vocabulary: ${workload.error.issues.map((issue) => issue.path.join(".")).join(", ")} too long`);
}

/**
 * A claim by the name that a match uses: the token's own name first; then, when the name begins with `/`, an RFC 6901
 * pointer into the token (`/kubernetes.io/serviceaccount/uid`), since some providers nest. Empty text is absent.
 */
export function resolveClaim(claims: Claims, name: string): string | undefined {
  if (Object.hasOwn(claims, name) || !name.startsWith("/")) return presentText(claims, name);
  const path = name
    .slice(1)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  const last = path.pop() ?? "";
  let place: unknown = claims;
  for (const part of path) {
    if (!isObject(place) || !Object.hasOwn(place, part)) return undefined;
    place = place[part];
  }
  return isObject(place) ? presentText(place, last) : undefined;
}

/** Events by which someone outside can start a run (policy/providers.ts); listing the claim in a match accepts the listed ones. */
export function outsiderGuard(provider: Provider): readonly Guard[] {
  const event = PROVIDERS[provider].event;
  if (event === undefined) return [];
  const refuses = (claims: Claims): string | null => {
    const value = presentText(claims, event.claim) ?? "";
    return event.outsiders.includes(value) ? `the run was started by ${value}, whose author may be anyone` : null;
  };
  return [{ rule: `${provider}-outsider-event`, lift: event.claim, refuses }];
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
