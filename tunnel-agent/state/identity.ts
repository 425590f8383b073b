/**
 * Who this agent is: its Ed25519 key, made here and never sent, and the id that the gateway gave for it at
 * enrolment. Signs the token of every dial (RFC 7519 with EdDSA, RFC 8037) and every seal of a recording.
 *
 * A crash between making the key and enrolling leaves the key, and the next start enrols it. When the gateway refuses
 * the enrolment, the key goes: an earlier attempt, whose answer was lost, may have enrolled it under an id that nobody knows.
 */
import {
  type KeyObject,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  randomBytes,
  randomUUID,
  sign,
} from "node:crypto";
import { SignJWT } from "jose";
import * as z from "zod";
import { EnrolAnswer, ProblemJson } from "../../protocol/api.ts";
import { AGENT_TOKEN_TTL_S } from "../../protocol/limits.ts";
import { parseAgentId, type AgentId } from "../../protocol/ids.ts";
import { StateError, type StateDirectory } from "./directory.ts";

const KEY_FILE = "agent.key";
const AGENT_FILE = "agent.json";
const RECORDING_KEY_FILE = "recording.key";

const Enrolled = z.object({ agent: z.string(), site: z.string(), name: z.string(), gateway: z.string(), enrolled_at: z.number() });

export interface AgentIdentity {
  readonly agent: AgentId;
  readonly site: string;
  readonly name: string;
  /** A fresh JWT for one dial to the gateway with this origin. */
  readonly token: (origin: string) => Promise<string>;
  /** Ed25519 over UTF-8 text, base64url. */
  readonly sign: (text: string) => string;
  /** HMAC-SHA-256 under the recording key, hex. */
  readonly digest: (bytes: Uint8Array | string) => string;
  /** For deterministic masks, made from the recording key: this agent's alone. */
  readonly maskingKey: Uint8Array;
}

export class EnrolmentFailed extends Error {
  override name = "EnrolmentFailed";
}

export interface EnrolOptions {
  /** Origin of the gateway. */
  readonly gateway: string;
  readonly name: string;
  /** Reads the one-time token; absent: none is configured. */
  readonly token?: (() => Promise<string>) | undefined;
  readonly now: () => number;
}

/** The identity in `state`, enrolling first if there is none. @throws StateError, EnrolmentFailed, CredentialUnavailable */
export async function openIdentity(state: StateDirectory, options: EnrolOptions): Promise<AgentIdentity> {
  const stored = state.read(AGENT_FILE);
  if (stored !== null) {
    const enrolled = Enrolled.safeParse(parseJson(stored));
    const id = parseAgentId(enrolled.data?.agent);
    const key = loadKey(state);
    if (!enrolled.success || !id.ok || key === null) {
      throw new StateError(
        `${state.file(AGENT_FILE)} or ${KEY_FILE} beside it is damaged or missing: restore both from a backup, or remove both and enrol anew`,
      );
    }
    return identityOf(id.value, enrolled.data, key, recordingKey(state), options.now);
  }
  if (options.token === undefined) {
    throw new EnrolmentFailed(
      "this agent is not enrolled: write enrolment_token: env:NAME (or file:PATH) with a one-time token from `sallyport agents enrol`",
    );
  }
  const key = loadKey(state) ?? makeKey(state);
  const answer = await enrol(options.gateway, { token: await options.token(), name: options.name, public_key: publicJwk(key) });
  if (answer.kind === "refused") {
    state.remove(KEY_FILE);
    throw new EnrolmentFailed(`the gateway refused the enrolment: ${answer.reason}`);
  }
  if (answer.kind === "unavailable") throw new EnrolmentFailed(`the gateway could not be reached for the enrolment: ${answer.reason}`);
  const id = parseAgentId(answer.value.agent);
  if (!id.ok) throw new EnrolmentFailed(`the gateway's answer to the enrolment has ${id.error}`);
  const enrolled = { ...answer.value, gateway: options.gateway, enrolled_at: options.now() };
  state.write(AGENT_FILE, `${JSON.stringify(enrolled, null, 2)}\n`);
  return identityOf(id.value, enrolled, key, recordingKey(state), options.now);
}

function identityOf(
  agent: AgentId,
  enrolled: { readonly site: string; readonly name: string },
  key: KeyObject,
  recording: Buffer,
  now: () => number,
): AgentIdentity {
  // As an object: given as bytes, the key is made ready anew for each digest, at five times the time.
  const secret = createSecretKey(recording);
  return {
    agent,
    site: enrolled.site,
    name: enrolled.name,
    token: (origin) => {
      // Both from one reading of the clock: the gateway refuses a life longer than the limit.
      const iat = Math.floor(now() / 1000);
      return new SignJWT({})
        .setProtectedHeader({ alg: "EdDSA", typ: "JWT" })
        .setIssuer(agent)
        .setSubject(agent)
        .setAudience(origin)
        .setIssuedAt(iat)
        .setExpirationTime(iat + AGENT_TOKEN_TTL_S)
        .setJti(randomUUID())
        .sign(key);
    },
    sign: (text) => sign(null, Buffer.from(text), key).toString("base64url"),
    digest: (bytes) => createHmac("sha256", secret).update(bytes).digest("hex"),
    maskingKey: createHmac("sha256", secret).update("sallyport masking key v1").digest(),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function loadKey(state: StateDirectory): KeyObject | null {
  const text = state.read(KEY_FILE, true);
  if (text === null) return null;
  try {
    const key = createPrivateKey(text);
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch {
    // The error may quote the file; the sentence below is enough.
  }
  throw new StateError(
    `${state.file(KEY_FILE)} is not an Ed25519 private key: restore it from a backup, or remove it and ${AGENT_FILE} and enrol anew`,
  );
}

function makeKey(state: StateDirectory): KeyObject {
  const { privateKey } = generateKeyPairSync("ed25519");
  state.write(KEY_FILE, privateKey.export({ type: "pkcs8", format: "pem" }).toString());
  return privateKey;
}

/** 256 bits that make digests of commands comparable within this agent and meaningless without it. */
function recordingKey(state: StateDirectory): Buffer {
  const stored = state.read(RECORDING_KEY_FILE, true);
  if (stored !== null) {
    if (!/^[0-9a-f]{64}\n$/.test(stored))
      throw new StateError(`${state.file(RECORDING_KEY_FILE)} is damaged: restore it from a backup or remove it`);
    return Buffer.from(stored.trim(), "hex");
  }
  const key = randomBytes(32);
  state.write(RECORDING_KEY_FILE, `${key.toString("hex")}\n`);
  return key;
}

/** RFC 8037 section 2. */
function publicJwk(key: KeyObject): { kty: "OKP"; crv: "Ed25519"; x: string } {
  const { x } = createPublicKey(key).export({ format: "jwk" });
  if (x === undefined) throw new Error("an Ed25519 key without x");
  return { kty: "OKP", crv: "Ed25519", x };
}

type EnrolResult =
  | { readonly kind: "enrolled"; readonly value: z.infer<typeof EnrolAnswer> }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "unavailable"; readonly reason: string };

async function enrol(gateway: string, request: object): Promise<EnrolResult> {
  let response: Response;
  let body: unknown;
  try {
    response = await fetch(new URL("/v1/agents/enrol", gateway), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(request),
      redirect: "error",
      signal: AbortSignal.timeout(30_000),
    });
    body = parseJson(await response.text());
  } catch (error) {
    return { kind: "unavailable", reason: describeFetchError(error) };
  }
  if (response.ok) {
    const answer = EnrolAnswer.safeParse(body);
    return answer.success ? { kind: "enrolled", value: answer.data } : { kind: "unavailable", reason: "its answer was not understood" };
  }
  const problem = ProblemJson.safeParse(body);
  const reason = problem.success
    ? `${problem.data.title} (${problem.data.code}${problem.data.ref === undefined ? "" : `, reference ${problem.data.ref}`})`
    : `HTTP ${response.status}`;
  return { kind: response.status >= 500 || response.status === 429 ? "unavailable" : "refused", reason };
}

/** undici hides the reason of a failed fetch in `cause`. */
export function describeFetchError(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  const { cause } = error;
  if (cause instanceof Error) return "code" in cause && typeof cause.code === "string" ? cause.code : cause.message;
  return error.name === "TimeoutError" ? "no answer in time" : error.message;
}
