/**
 * `sallyport dev token`: a signed token of the local issuer with a provider's real claim set. Every claim has the
 * value of an ordinary job (protocol/provider-claims.ts) and can be overridden; `iss` and `aud` come from the
 * bundle's gateway.yaml, so the token is what the provider would have signed for this gateway.
 */
import { PROVIDER_NAMES } from "../policy/providers.ts";
import { defaultClaims } from "../protocol/provider-claims.ts";
import { DevConfigError, devPaths, readDevBundle } from "./gateway.ts";
import { loadIssuerKey, signToken } from "./issuer/issuer.ts";

export interface DevTokenOptions {
  readonly directory: string;
  readonly provider: string;
  /** `name=value`, text; `name:=JSON` for a value that is not; `name=` removes the claim. */
  readonly claims: readonly string[];
  readonly issuer?: string | undefined;
  readonly audience?: string | undefined;
  /** ms since the epoch. */
  readonly now: number;
}

/** Values are text unless written as JSON: providers send ids as strings (`repository_id: "1"`). */
function readClaim(text: string): readonly [string, unknown] {
  const match = /^([^=:]+|[^=]+?)(:?=)(.*)$/s.exec(text);
  if (match === null) throw new DevConfigError(`--claim ${text}: write name=value, or name:=JSON for a value that is not text`);
  const [, name = "", operator, value = ""] = match;
  if (operator === "=") return [name, value];
  try {
    return [name, JSON.parse(value) as unknown];
  } catch {
    throw new DevConfigError(`--claim ${name}:=…: the value is not JSON; write ${name}=… for text`);
  }
}

/** @throws DevConfigError */
export async function mintDevToken(options: DevTokenOptions): Promise<string> {
  const provider = PROVIDER_NAMES.find((name) => name === options.provider);
  if (provider === undefined) throw new DevConfigError(`--provider ${options.provider}: write one of ${PROVIDER_NAMES.join(", ")}`);
  const { policy } = await readDevBundle(options.directory);
  const issuers = policy.gateway.issuers.filter((entry) => entry.provider === provider);
  const issuer = options.issuer === undefined ? issuers[0] : issuers.find((entry) => entry.issuer === options.issuer);
  if (issuer === undefined && options.issuer === undefined) {
    throw new DevConfigError(`gateway.yaml lists no issuer of provider ${provider}: add one under issuers:, or name another with --issuer`);
  }
  const claims: Record<string, unknown> = {
    ...defaultClaims(provider),
    iss: options.issuer ?? issuer?.issuer,
    aud: options.audience ?? issuer?.audience ?? policy.gateway.audience,
  };
  for (const [name, value] of options.claims.map(readClaim)) {
    // Left out when serialised, defaults of the signer too.
    claims[name] = value === "" ? undefined : value;
  }
  return signToken(await loadIssuerKey(devPaths(options.directory).issuerKey), claims, options.now);
}
