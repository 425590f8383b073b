/**
 * The one registry of ids and names. A value of a branded type was made by `mint…` or passed `parse…`;
 * nothing else makes one. Ids carry 128 random bits (GW-24), so knowing the form of one helps nobody.
 */
import { err, ok, type Result } from "./result.ts";

declare const brand: unique symbol;
type Branded<B extends string> = string & { readonly [brand]: B };

export type SessionId = Branded<"SessionId">;
export type AgentId = Branded<"AgentId">;
export type ApprovalId = Branded<"ApprovalId">;
export type PlanId = Branded<"PlanId">;
/** A name that an admin chose: lower case, digits, `-`, `_`, `.`; 1–63 characters; begins and ends alphanumeric. */
export type TargetName = Branded<"TargetName">;
export type SiteName = Branded<"SiteName">;
export type IdentityName = Branded<"IdentityName">;
export type GroupName = Branded<"GroupName">;

const ID_PREFIX = { session: "ses", agent: "agt", approval: "apr", plan: "pln" } as const;
type IdKind = keyof typeof ID_PREFIX;

/** Crockford's base 32, lower case: no i, l, o, u. */
const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
const ID_CHARACTERS = 26; // 26 × 5 bits ≥ 128 bits
const ID_BODY = new RegExp(`^[${ALPHABET}]{${ID_CHARACTERS}}$`);
const NAME = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/;

/** Fills an array with random bytes; `crypto.getRandomValues` in production. */
export type Random = (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>;

function mint(kind: IdKind, random: Random): string {
  const bytes = random(new Uint8Array(ID_CHARACTERS));
  let body = "";
  for (const byte of bytes) body += ALPHABET[byte & 31];
  return `${ID_PREFIX[kind]}_${body}`;
}

function parseId(kind: IdKind, text: unknown): Result<string, string> {
  const prefix = `${ID_PREFIX[kind]}_`;
  if (typeof text === "string" && text.startsWith(prefix) && ID_BODY.test(text.slice(prefix.length))) return ok(text);
  return err(`not a ${kind} id: expected ${prefix} and ${ID_CHARACTERS} characters of base 32`);
}

function parseName(what: string, text: unknown): Result<string, string> {
  if (typeof text === "string" && NAME.test(text)) return ok(text);
  return err(`not a ${what} name: use 1–63 of a–z, 0–9, '-', '_', '.', beginning and ending with a letter or digit`);
}

export const mintSessionId = (random: Random): SessionId => mint("session", random) as SessionId;
export const mintAgentId = (random: Random): AgentId => mint("agent", random) as AgentId;
export const mintApprovalId = (random: Random): ApprovalId => mint("approval", random) as ApprovalId;

export const mintPlanId = (random: Random): PlanId => mint("plan", random) as PlanId;

export const parseSessionId = (text: unknown): Result<SessionId, string> => parseId("session", text) as Result<SessionId, string>;
export const parseAgentId = (text: unknown): Result<AgentId, string> => parseId("agent", text) as Result<AgentId, string>;
export const parsePlanId = (text: unknown): Result<PlanId, string> => parseId("plan", text) as Result<PlanId, string>;
export const parseApprovalId = (text: unknown): Result<ApprovalId, string> => parseId("approval", text) as Result<ApprovalId, string>;
export const parseTargetName = (text: unknown): Result<TargetName, string> => parseName("target", text) as Result<TargetName, string>;
export const parseSiteName = (text: unknown): Result<SiteName, string> => parseName("site", text) as Result<SiteName, string>;
export const parseIdentityName = (text: unknown): Result<IdentityName, string> =>
  parseName("identity", text) as Result<IdentityName, string>;
export const parseGroupName = (text: unknown): Result<GroupName, string> => parseName("group", text) as Result<GroupName, string>;

/** 256 random bits in base64url: resume secrets, dial secrets, enrolment tokens, session credentials. */
export function mintSecret(random: Random): string {
  const bytes = random(new Uint8Array(32));
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
