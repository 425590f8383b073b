/**
 * `sallyport dev` only: on a machine that cannot mint a provider's tokens, the keys of every https issuer are taken to be
 * the local issuer's. It needs the variable SALLYPORT_DEV_ISSUER, and that to be an http origin on loopback, which
 * a deployed Worker cannot reach: set there by mistake, it makes verification fail, not pass.
 */
import type { Env } from "../../durable-objects/env.ts";
import { createKeySource, type KeySource } from "./keys-shell.ts";

const LOOPBACK_ORIGIN = /^http:\/\/(?:127\.0\.0\.1|localhost|\[::1\]):\d{1,5}$/;

/** The local issuer's origin, where this Worker runs under `sallyport dev`. */
export const devIssuer = (env: Env): string | undefined => {
  const origin = env.SALLYPORT_DEV_ISSUER ?? "";
  return LOOPBACK_ORIGIN.test(origin) ? origin : undefined;
};

export function keySourceOf(env: Env): KeySource {
  const source = createKeySource(env.DB);
  const local = devIssuer(env);
  if (local === undefined) return source;
  return {
    find: (issuer, kid, now) =>
      source.find(issuer.issuer.startsWith("https:") ? { ...issuer, jwks_uri: `${local}/jwks` } : issuer, kid, now),
  };
}
