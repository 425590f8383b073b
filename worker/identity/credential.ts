/**
 * The form of a session credential: `sallyport~<identity>~<secret>`. Opaque: the identity's name finds the object that
 * knows the secret's hash, and says nothing by itself (docs/decisions/0002-opaque-session-credentials.md). `~` is in token68
 * (RFC 9110 section 11.2) and in no identity's name. The prefix lets secret scanners recognise one.
 */
import { mintSecret, parseIdentityName, type IdentityName, type Random } from "../../protocol/ids.ts";
import { sha256 } from "./digest.ts";

const PREFIX = "sallyport";
const SECRET = /^[A-Za-z0-9_-]{43}$/;

export interface ParsedCredential {
  readonly identity: IdentityName;
  /** What the object stores and looks up. */
  readonly hash: string;
}

export interface MintedCredential {
  readonly text: string;
  readonly hash: string;
}

export async function mintCredential(identity: string, random: Random): Promise<MintedCredential> {
  const secret = mintSecret(random);
  return { text: `${PREFIX}~${identity}~${secret}`, hash: await sha256(secret) };
}

/** Null: not of this form. */
export async function parseCredential(text: string): Promise<ParsedCredential | null> {
  const [prefix, name, secret, ...rest] = text.split("~");
  if (prefix !== PREFIX || rest.length > 0 || secret === undefined || !SECRET.test(secret)) return null;
  const identity = parseIdentityName(name);
  return identity.ok ? { identity: identity.value, hash: await sha256(secret) } : null;
}
