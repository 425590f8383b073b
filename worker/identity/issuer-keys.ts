/**
 * When an issuer's keys are used, fetched again or given up: the rules, without I/O. keys-shell.ts obeys them.
 *
 *   fresh and `kid` known            use what we have
 *   none, or not fresh               fetch, but not within ISSUER_REFETCH_MS of a fetch that failed
 *   `kid` unknown                    fetch once more, but not within ISSUER_REFETCH_MS of the last such fetch
 *   fetch impossible, `kid` known    use the last good set until it is ISSUER_KEYS_STALE_MS old
 *   fetch impossible, `kid` unknown  the token's key is unknown: refused (GW-04)
 *   no set, or one past its limit    the issuer is unavailable
 *
 * The rate limit is the same for every `kid`, so a flood of invented ones costs the issuer one fetch per isolate and
 * interval. Its price: a key that the issuer begins to use during such an interval is refused until it has passed.
 */
import { ISSUER_KEYS_MAX_AGE_MS, ISSUER_KEYS_STALE_MS, ISSUER_REFETCH_MS } from "../../protocol/limits.ts";
import { err, ok, type Result } from "../../protocol/result.ts";
import { isAsymmetric, type PublicKeySet } from "./key-set.ts";

export interface GoodKeys {
  readonly jwks: PublicKeySet;
  /** ms since the epoch. */
  readonly fetchedAt: number;
}

/** What an isolate knows of one issuer. Times in ms since the epoch. */
export interface KeyState {
  readonly good: GoodKeys | null;
  /** The last fetch that failed or was made for an unknown `kid`: the next waits ISSUER_REFETCH_MS. */
  readonly limitedAt: number | null;
  /** Why the last fetch failed; null after a success. */
  readonly failure: string | null;
}

export const NO_KEYS: KeyState = { good: null, limitedAt: null, failure: null };

export type KeyFailure =
  | { readonly kind: "unavailable"; readonly reason: string }
  | { readonly kind: "unknown_key"; readonly reason: string };

/** True: what is at hand answers for this `kid`, without asking anyone. */
export const suffices = (state: KeyState, kid: string, now: number): boolean =>
  isFresh(state, now) && state.good !== null && hasKey(state.good.jwks, kid);

/** A clock that went back counts as time passed: the limit guards the issuer, not us. */
export const mayFetch = (state: KeyState, now: number): boolean =>
  state.limitedAt === null || now < state.limitedAt || now - state.limitedAt >= ISSUER_REFETCH_MS;

const isFresh = (state: KeyState, now: number): boolean => state.good !== null && now - state.good.fetchedAt < ISSUER_KEYS_MAX_AGE_MS;

/** The verdict when nothing more can be fetched. */
export function conclude(state: KeyState, kid: string, now: number): Result<PublicKeySet, KeyFailure> {
  const { good, failure } = state;
  const outage = failure === null ? "" : `; last fetch failed: ${failure}`;
  if (good === null) return err({ kind: "unavailable", reason: `no keys of the issuer${outage || ", and the next fetch is not due"}` });
  const age = now - good.fetchedAt;
  if (age >= ISSUER_KEYS_STALE_MS) {
    return err({
      kind: "unavailable",
      reason: `keys are ${Math.round(age / 1000)} s old, past the limit of ${ISSUER_KEYS_STALE_MS / 1000} s${outage}`,
    });
  }
  if (!hasKey(good.jwks, kid)) return err({ kind: "unknown_key", reason: `the issuer has no key of this kid${outage}` });
  return ok(good.jwks);
}

/** A fetch succeeded. While the old set was still fresh, it was an unknown `kid` that asked for it. */
export const fetched = (state: KeyState, jwks: PublicKeySet, now: number): KeyState => ({
  good: { jwks, fetchedAt: now },
  limitedAt: isFresh(state, now) ? now : state.limitedAt,
  failure: null,
});

export const failed = (state: KeyState, failure: string, now: number): KeyState => ({ good: state.good, limitedAt: now, failure });

/** Another isolate's fetch, as found in storage, where newer than our own. */
export function learn(state: KeyState, stored: GoodKeys | null): KeyState {
  if (stored === null || (state.good !== null && stored.fetchedAt <= state.good.fetchedAt)) return state;
  return { ...state, good: stored };
}

const hasKey = (jwks: PublicKeySet, kid: string): boolean => jwks.keys.some((key) => key.kid === kid && isAsymmetric(key));
