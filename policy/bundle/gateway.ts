/**
 * gateway.yaml → `GatewayConfig`. Durations are written `90s`, `15m`, `8h`, `30d`. An issuer needs its exact `iss`, or
 * only its provider where the provider has one public issuer.
 */
import type { Rule } from "../rules.ts";
import { MAX_TOKEN_AGE_S, SESSION_MAX_S, SESSIONS_PER_IDENTITY } from "../../protocol/limits.ts";
import { problem } from "../problem.ts";
import { PROVIDER_NAMES, PROVIDERS } from "../providers.ts";
import type { GatewayConfig, IssuerConfig, Problem } from "../types.ts";
import { Approvals, APPROVAL_TTL_MAX_S, readChannels } from "./channels.ts";
import { duration, integer, list, mapping, oneOf, text } from "./fields.ts";
import { shaped, type YamlDocument } from "./yaml.ts";

/** Asymmetric signatures of RFC 7518 section 3.1 and RFC 8037 that jose verifies; nothing with a shared key (GW-03). */
const ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"] as const;
const DAY_S = 86_400;

const Issuer = mapping({
  provider: oneOf(PROVIDER_NAMES),
  issuer: text("the exact issuer, as in the token's iss").optional(),
  jwks_uri: text("the https address of the key set").optional(),
  algorithms: list(oneOf(ALGORITHMS), "signature algorithms, such as RS256").optional(),
  audience: text("the audience that this issuer's tokens carry", 512).optional(),
  max_token_age: duration(1, DAY_S, "from 1s to 24h").optional(),
});

const Gateway = mapping({
  audience: text("the gateway's audience, which every token must carry: its public address", 512),
  issuers: list(Issuer, "the issuers whose tokens are accepted", 64),
  session_max: duration(60, 7 * DAY_S, "from 1m to 7d").default(SESSION_MAX_S),
  sessions_per_identity: integer(1, 10_000).default(SESSIONS_PER_IDENTITY),
  policy_max_stale: duration(60, 7 * DAY_S, "from 1m to 7d").default(3600),
  retention: duration(DAY_S, 3650 * DAY_S, "from 1d to 3650d, in whole days").default(90 * DAY_S),
  approvals: Approvals.optional(),
});

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** https anywhere, http on this machine only. Says what is wrong. */
export function addressFault(address: string): string | undefined {
  if (!URL.canParse(address)) return `${JSON.stringify(address)} is not an address: write https://…`;
  const url = new URL(address);
  if (url.username !== "" || url.password !== "") return "an address holds no user or password here: write it without";
  if (url.protocol === "https:" || (url.protocol === "http:" && LOOPBACK.test(url.hostname))) return undefined;
  return `${JSON.stringify(address)} is not protected: write https://… (http is accepted on loopback only)`;
}

/** Undefined when there are problems; they are pushed. */
export function readGateway(file: string, document: YamlDocument, problems: Problem[]): GatewayConfig | undefined {
  const before = problems.length;
  const raw = shaped(file, document, Gateway, problems);
  if (raw === undefined) return undefined;
  const fault = (path: readonly PropertyKey[], rule: Rule, message: string) =>
    problems.push(problem("error", rule, file, message, document.locate(path)));
  const seen = new Set<string>();
  const issuers = raw.issuers.map((entry, index): IssuerConfig => {
    const provider = PROVIDERS[entry.provider];
    const issuer = entry.issuer ?? provider.issuer ?? "";
    if (issuer === "") {
      fault(
        ["issuers", index],
        "issuer-missing",
        `provider ${entry.provider} has no one public issuer: write issuer: with the token's exact iss`,
      );
    } else {
      const wrong = addressFault(issuer);
      if (wrong !== undefined) fault(["issuers", index, "issuer"], "issuer-address", wrong);
      if (seen.has(issuer)) fault(["issuers", index], "issuer-twice", `the issuer ${issuer} is there twice: keep one entry`);
    }
    seen.add(issuer);
    const jwks = entry.jwks_uri === undefined ? undefined : addressFault(entry.jwks_uri);
    if (jwks !== undefined) fault(["issuers", index, "jwks_uri"], "issuer-address", jwks);
    const age = entry.max_token_age ?? (provider.longLived ? 3600 : MAX_TOKEN_AGE_S);
    if (age > MAX_TOKEN_AGE_S && !provider.longLived && entry.provider !== "oidc") {
      fault(
        ["issuers", index, "max_token_age"],
        "token-age",
        `${entry.provider}'s jobs can get a fresh token at any time: write at most ${MAX_TOKEN_AGE_S / 60}m, or leave it out`,
      );
    }
    return {
      issuer,
      provider: entry.provider,
      jwks_uri: entry.jwks_uri,
      algorithms: entry.algorithms ?? ["RS256", "ES256"],
      audience: entry.audience ?? raw.audience,
      max_token_age_s: age,
    };
  });
  const channels = readChannels(
    raw.approvals,
    (address) => addressFault(address) === undefined,
    (path, rule, message) => fault(["approvals", ...path], rule, message),
  );
  if (problems.length > before) return undefined;
  return {
    audience: raw.audience,
    issuers,
    session_max_s: raw.session_max,
    sessions_per_identity: raw.sessions_per_identity,
    policy_max_stale_s: raw.policy_max_stale,
    retention_days: Math.floor(raw.retention / DAY_S),
    channels,
    approval_ttl_max_s: raw.approvals?.ttl_max ?? APPROVAL_TTL_MAX_S,
  };
}
