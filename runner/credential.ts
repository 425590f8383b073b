/**
 * The session credential of a job: its OIDC token is exchanged once (RFC 8693), the credential renewed before it expires.
 *
 * A token that can be minted at any time needs nothing kept. One that cannot is spent by its exchange, so the credential
 * goes to the store for the job's other commands, and a command that runs for long renews it there for those that come
 * after. Commands that start at once race for the exchange: one wins, the others take what it keeps.
 */
import { TokenAnswer } from "../protocol/connect.ts";
import { answerOf, ask, GatewayRefused } from "./ask.ts";
import { openCredentialStore } from "./credential-store.ts";
import { CommandFailed, EXIT } from "./exit.ts";
import { findTokenSource } from "./identity/source.ts";
import { TokenUnavailable, type Environment, type TokenSource } from "./identity/types.ts";
import { makeProofKey, prove, restoreProofKey, type ProofKey } from "./proof.ts";

const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT = "urn:ietf:params:oauth:token-type:jwt";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";
/** A credential is renewed when less than this is left of it, ms. */
const RENEW_BEFORE_MS = 5 * 60_000;
/** With less than this left, a credential that could not be renewed is not relied on, ms. */
const LAST_USE_MS = 30_000;
/** How often, and for how many times, the store is looked at after another command has won the exchange. */
const WAIT_MS = 200;
const WAITS = 15;

export interface Credential {
  readonly access_token: string;
  readonly identity: string;
  /** ms since the epoch. */
  readonly expires_at: number;
  /** The key that it is bound to. */
  readonly key: ProofKey;
}

export interface CredentialHolder {
  /** One that is good for a while. @throws CommandFailed */
  current(): Promise<Credential>;
  /** Who the gateway says we are, once it has. */
  readonly identity: string | undefined;
}

export interface CredentialOptions {
  /** The gateway. */
  readonly origin: string;
  /** What the token is asked for. */
  readonly audience: string;
  readonly env: Environment;
  /** ms since the epoch. */
  readonly now: () => number;
  /** Does something in so many ms, if the process lives that long. */
  readonly later: (ms: number, action: () => void) => void;
}

export function holdCredential({ origin, audience, env, now, later }: CredentialOptions): CredentialHolder {
  const store = openCredentialStore(env, origin, now);
  let source: TokenSource | undefined;
  let held: Credential | undefined;
  /** The token that cannot be had again, and that the held credential was exchanged for. */
  let spent: string | undefined;
  let obtaining: Promise<Credential> | undefined;
  let renewing = false;

  const isFresh = ({ expires_at }: Credential): boolean => expires_at - now() > RENEW_BEFORE_MS;

  const trade = async (subject: string, type: string, key: ProofKey): Promise<Credential> => {
    const url = new URL("/v1/token", origin);
    const body = new URLSearchParams({ grant_type: EXCHANGE, subject_token: subject, subject_token_type: type }).toString();
    const dpop = await prove(key, { method: "POST", url, now: now() });
    const headers = { dpop, "content-type": "application/x-www-form-urlencoded" };
    const { access_token, identity, expires_in } = await answerOf(await ask(url, { method: "POST", body, headers }), TokenAnswer);
    return { access_token, identity, expires_at: now() + expires_in * 1000, key };
  };

  /** What another command of the job has kept, or this one earlier. */
  const kept = async (token: string): Promise<Credential | undefined> => {
    const found = store.load(token);
    if (found === undefined || found.expires_at <= now()) return undefined;
    try {
      return { ...found, key: await restoreProofKey(found.key) };
    } catch {
      return undefined;
    }
  };

  /** Its successor, or itself while the gateway cannot be asked. @throws GatewayRefused when it is not good any more */
  const renewed = async (credential: Credential): Promise<Credential> => {
    if (isFresh(credential)) return credential;
    try {
      return await trade(credential.access_token, ACCESS_TOKEN, credential.key);
    } catch (error) {
      if (error instanceof GatewayRefused || credential.expires_at - now() < LAST_USE_MS) throw error;
      return credential;
    }
  };

  const obtainMintable = async (from: TokenSource): Promise<Credential> => {
    if (held !== undefined && held.expires_at > now()) {
      const next = await renewed(held).catch((error: unknown) => {
        if (error instanceof GatewayRefused) return undefined;
        throw error;
      });
      // At the end of its line a renewal adds nothing, a new token does.
      if (next !== undefined && (isFresh(next) || next === held)) return next;
    }
    return trade(await from.fetch(audience), JWT, held?.key ?? (await makeProofKey()));
  };

  const obtainKept = async (from: TokenSource): Promise<Credential> => {
    const token = await from.fetch(audience).catch((error: unknown) => {
      // The file is gone, or SALLYPORT_TOKEN_FILE is being written: what was exchanged can still be renewed.
      if (spent === undefined) throw error;
      return spent;
    });
    const stored = await kept(token);
    const mine = spent === token && held !== undefined && held.expires_at > now() ? held : undefined;
    // Another command's renewal may be newer than what this one holds, or the other way round.
    const best = stored !== undefined && stored.expires_at >= (mine?.expires_at ?? 0) ? stored : mine;
    const next = await (best === undefined ? exchangeOnce(token) : renewed(best));
    spent = token;
    if (next !== stored) store.save(token, { ...next, key: next.key.privateJwk });
    return next;
  };

  const exchangeOnce = async (token: string): Promise<Credential> => {
    try {
      return await trade(token, JWT, await makeProofKey());
    } catch (error) {
      if (!(error instanceof GatewayRefused) || error.problem.code !== "token_replayed" || !store.keeps) throw error;
      for (let wait = 0; wait < WAITS; wait += 1) {
        const found = await kept(token);
        if (found !== undefined) return found;
        await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
      }
      throw error;
    }
  };

  /** For the commands that come after this one. While the gateway cannot be reached it is tried again. */
  const keepRenewing = (): void => {
    if (renewing || held === undefined || held.expires_at <= now()) return;
    renewing = true;
    later(Math.max(LAST_USE_MS, held.expires_at - RENEW_BEFORE_MS - now()), () => {
      renewing = false;
      current().then(keepRenewing, (error: unknown) => {
        if (!(error instanceof GatewayRefused)) keepRenewing();
      });
    });
  };

  const obtain = async (): Promise<Credential> => {
    try {
      source ??= findTokenSource(env);
      held = await (source.mintable ? obtainMintable(source) : obtainKept(source));
      if (!source.mintable) keepRenewing();
      return held;
    } catch (error) {
      throw error instanceof TokenUnavailable ? new CommandFailed(EXIT.denied, error.message) : error;
    }
  };

  const current = async (): Promise<Credential> => {
    if (held !== undefined && isFresh(held)) return held;
    obtaining ??= obtain().finally(() => {
      obtaining = undefined;
    });
    return obtaining;
  };

  return {
    current,
    get identity() {
      return held?.identity;
    },
  };
}
