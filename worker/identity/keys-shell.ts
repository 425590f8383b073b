/**
 * The shell around issuer-keys.ts: memory of the isolate, then D1 (store/issuer-keys.ts), then the issuer.
 *
 * Memory holds data only, never a promise of another request. D1 makes a cold isolate start without a fetch and carries
 * the last good keys over an outage; it holds public keys, and whoever could write there could change the bundle too.
 */
import { ok, type Result } from "../../protocol/result.ts";
import { ISSUER_TIMEOUT_MS } from "../../protocol/limits.ts";
import type { IssuerConfig } from "../../policy/types.ts";
import { readIssuerKeys, writeIssuerKeys } from "../../store/issuer-keys.ts";
import { checkIssuerUrl, fetchIssuerDocument, type Fetch } from "./issuer-document.ts";
import {
  conclude,
  failed,
  fetched,
  learn,
  mayFetch,
  NO_KEYS,
  suffices,
  type GoodKeys,
  type KeyFailure,
  type KeyState,
} from "./issuer-keys.ts";
import { discoveryUrl, parseDiscovery, parseKeySet, type PublicKeySet } from "./key-set.ts";

export interface KeySource {
  /** The issuer's key set, which has a key of this `kid`. `now` in ms since the epoch. */
  find(issuer: IssuerConfig, kid: string, now: number): Promise<Result<PublicKeySet, KeyFailure>>;
}

/** What an isolate remembers, by issuer. Issuers are the bundle's, so it cannot be made to grow from outside. */
export interface KeyMemory {
  readonly states: Map<string, KeyState>;
  /** Fetches in progress, with when they began, ms since the epoch. */
  readonly flights: Map<string, number>;
}

export const emptyMemory = (): KeyMemory => ({ states: new Map(), flights: new Map() });
const isolateMemory = emptyMemory();

/** A flight older than this was cut off with its request: nobody waits for it. Two documents, each with its own limit. */
const FLIGHT_MS = 2 * ISSUER_TIMEOUT_MS + 1_000;
const WAIT_STEP_MS = 20;

export function createKeySource(
  db: D1Database,
  fetch: Fetch = (url, init) => globalThis.fetch(url, init),
  memory: KeyMemory = isolateMemory,
): KeySource {
  return {
    async find(issuer, kid, now) {
      const place = issuer.jwks_uri ?? "";
      const name = `${issuer.issuer}\n${place}`;
      const known = (): KeyState => memory.states.get(name) ?? NO_KEYS;
      if (!suffices(known(), kid, now)) {
        // No await between the last look and the mark below, else a whole crowd sees nobody under way.
        while (isFlying(memory, name)) await scheduler.wait(WAIT_STEP_MS);
        if (!suffices(known(), kid, now) && mayFetch(known(), now)) {
          memory.flights.set(name, Date.now());
          try {
            memory.states.set(name, await refresh(db, fetch, issuer, place, known(), kid, now));
          } finally {
            memory.flights.delete(name);
          }
        }
      }
      return conclude(known(), kid, now);
    },
  };
}

/**
 * This isolate is fetching from the issuer already: a crowd of requests waits and causes one fetch. They wait by looking
 * again, since the runtime does not let one request await another's I/O.
 */
function isFlying(memory: KeyMemory, name: string): boolean {
  const began = memory.flights.get(name);
  return began !== undefined && Date.now() - began <= FLIGHT_MS;
}

async function refresh(
  db: D1Database,
  fetch: Fetch,
  issuer: IssuerConfig,
  place: string,
  before: KeyState,
  kid: string,
  now: number,
): Promise<KeyState> {
  const state = learn(before, await stored(db, issuer.issuer, place));
  if (suffices(state, kid, now)) return state;
  const answer = await fetchKeys(fetch, issuer);
  if (!answer.ok) return failed(state, answer.error, now);
  await writeIssuerKeys(db, issuer.issuer, place, { jwks: JSON.stringify(answer.value), fetched_at: now });
  return fetched(state, answer.value, now);
}

async function stored(db: D1Database, issuer: string, place: string): Promise<GoodKeys | null> {
  const row = await readIssuerKeys(db, issuer, place);
  if (row === null) return null;
  const jwks = parseKeySet(JSON.parse(row.jwks));
  return jwks.ok ? { jwks: jwks.value, fetchedAt: row.fetched_at } : null;
}

async function fetchKeys(fetch: Fetch, issuer: IssuerConfig): Promise<Result<PublicKeySet, string>> {
  const found = issuer.jwks_uri === undefined ? await discover(fetch, issuer.issuer) : ok(issuer.jwks_uri);
  if (!found.ok) return found;
  // Only a local issuer may name an http address: an https one that does is broken, or not itself.
  const local = issuer.jwks_uri !== undefined || issuer.issuer.startsWith("http:");
  const document = await fetchIssuerDocument(fetch, found.value, local);
  return document.ok ? parseKeySet(document.value) : { ok: false, error: `key set: ${document.error}` };
}

async function discover(fetch: Fetch, issuer: string): Promise<Result<string, string>> {
  const url = checkIssuerUrl(issuer, true);
  if (!url.ok) return { ok: false, error: `issuer: ${url.error}` };
  const document = await fetchIssuerDocument(fetch, discoveryUrl(issuer), true);
  return document.ok ? parseDiscovery(document.value, issuer) : { ok: false, error: `discovery: ${document.error}` };
}
