/**
 * Recordings as an auditor reads them: replay as a transcript, verification (protocol/recording/verify.ts does the
 * checking), export as stored. Streams: a recording of any length passes line by line.
 */
import { createHash, createPublicKey, verify as verifyEd25519, type KeyObject } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { SessionKeys } from "../protocol/api.ts";
import { RecordingEvent } from "../protocol/recording/event.ts";
import { RecordingVerifier } from "../protocol/recording/verify.ts";
import { CommandFailed, EXIT } from "./exit.ts";
import type { GatewayClient } from "./gateway.ts";
import { json, note, out, plain, plainLines, when } from "./print.ts";
import { resultTable } from "./result-table.ts";

const path = (id: string, rest: string): string => `/v1/sessions/${encodeURIComponent(id)}${rest}`;

async function download(gateway: GatewayClient, id: string): Promise<Readable> {
  return (await gateway.open(path(id, "/recording"))).body;
}

const linesOf = (stream: Readable): AsyncIterable<string> => createInterface({ input: stream, crlfDelay: 0 });

export async function exportRecording(gateway: GatewayClient, id: string, file: string | undefined): Promise<void> {
  const recording = await download(gateway, id);
  if (file === undefined) await pipeline(recording, process.stdout, { end: false });
  else {
    await pipeline(recording, createWriteStream(file, { mode: 0o600 }));
    note(`written to ${file}`);
  }
}

/** The event in a transcript's words; undefined for what only the chain needs. */
function transcript(event: RecordingEvent): string | undefined {
  const at = when(event.at);
  switch (event.type) {
    case "session.start":
      return `${at} ── session of ${event.identity} on ${event.target} (${event.workload.pipeline ?? event.workload.issuer}), bundle ${event.bundle}`;
    case "stream.open":
      return `${at} ── connection ${event.stream}${event.user === undefined ? "" : ` as ${event.user}`}${event.application === undefined ? "" : `, ${event.application}`}`;
    case "stream.close":
      return `${at} ── connection ${event.stream} closed${event.reason === undefined ? "" : `: ${event.reason}`}`;
    case "command": {
      const by = event.approval === undefined ? "" : `, ${event.decision === "allow" ? "by" : "waits for"} approval ${event.approval}`;
      const verdict = event.decision === "allow" ? `allow${by}` : `${event.decision}: ${event.reason ?? ""}${by}`;
      const login = event.login === undefined ? "" : `, ${event.login} login`;
      const parameters =
        event.parameters === undefined || event.parameters.length === 0 ? "" : `\n   with ${JSON.stringify(event.parameters)}`;
      return `${at} #${event.command} [${event.stream}] ${verdict} (${event.policies.join(", ") || "no policy"}${login})\n${event.text.replace(/^/gm, "   ")}${parameters}`;
    }
    case "outcome": {
      const rows = event.rows === undefined ? "" : `, ${event.rows} row(s)`;
      return `${at} #${event.command} → ${event.status}${event.code === undefined ? "" : ` ${event.code}`}${event.tag === undefined ? "" : ` ${event.tag}`}${rows}${event.ms === undefined ? "" : `, ${event.ms.toFixed(1)} ms`}`;
    }
    case "policy":
      return `${at} ── bundle ${event.bundle} from here on${event.note === undefined ? "" : `: ${event.note}`}`;
    case "approval":
      return `${at} ── approval ${event.approval} ${event.state}${event.by === undefined ? "" : ` by ${event.by.join(", ")}`}${event.reason === undefined ? "" : `: ${event.reason}`}`;
    case "result":
      return resultTable(event);
    case "gap":
      return `${at} ── GAP: ${event.note}`;
    case "session.end":
      return `${at} ── ended: ${event.message} [${event.code}]`;
    case "checkpoint":
      return undefined;
    case "seal":
      return `${at} ── sealed by ${event.agent}`;
    default:
      return event satisfies never;
  }
}

export async function replay(gateway: GatewayClient, id: string, asJson: boolean): Promise<void> {
  let shown = 0;
  for await (const line of linesOf(await download(gateway, id))) {
    const event = RecordingEvent.safeParse(safeJson(line));
    if (asJson) out(line);
    else if (event.success) {
      const text = transcript(event.data);
      if (text !== undefined) out(plainLines(text));
    } else out(`?? a line that is not an event: ${plain(line.slice(0, 200))}`);
    shown += 1;
  }
  if (shown === 0) note("nothing of this recording has been uploaded yet");
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** The session that a line says it is of. */
function sessionOf(line: string): string {
  const event = safeJson(line);
  return typeof event === "object" && event !== null && "session" in event && typeof event.session === "string" ? event.session : "";
}

export interface VerifyRequest {
  readonly id: string | undefined;
  readonly file: string | undefined;
  /** `AGENT=PUBLIC_KEY`. */
  readonly keys: readonly string[];
  readonly json: boolean;
}

const publicKey = (x: string): KeyObject => createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });

async function keysOf(gateway: GatewayClient | undefined, { id, keys }: VerifyRequest): Promise<Map<string, KeyObject>> {
  const known = new Map<string, KeyObject>();
  if (gateway !== undefined && id !== undefined) {
    for (const key of (await gateway.request(path(id, "/keys"), SessionKeys)).keys) known.set(key.agent, publicKey(key.public_key));
  }
  for (const pair of keys) {
    const at = pair.indexOf("=");
    try {
      known.set(pair.slice(0, at), publicKey(pair.slice(at + 1)));
    } catch {
      throw new CommandFailed(EXIT.usage, `--key ${plain(pair)}: write AGENT=PUBLIC_KEY, the key as sallyport agents list --json shows it`);
    }
  }
  return known;
}

/** Prints what is wrong and where, or that all is well; resolves to the exit status. */
export async function verify(gateway: GatewayClient | undefined, request: VerifyRequest): Promise<number> {
  const { file } = request;
  if (request.id === undefined && file === undefined)
    throw new CommandFailed(EXIT.usage, "which recording? Name a session, or --file with --key");
  if (file !== undefined && request.keys.length === 0)
    throw new CommandFailed(EXIT.usage, "--file needs --key AGENT=PUBLIC_KEY: without it a forged seal could not be told from a true one");
  const keys = await keysOf(gateway, request);
  const stream = file === undefined ? await download(gateway as GatewayClient, request.id ?? "") : createReadStream(file);
  let session = request.id ?? "";
  let verifier: RecordingVerifier | undefined;
  let last = "\n";
  stream.on("data", (chunk: Buffer) => {
    last = chunk.toString("latin1").at(-1) ?? last;
  });
  let lines = 0;
  for await (const line of linesOf(stream)) {
    if (session === "") session = sessionOf(line);
    verifier ??= new RecordingVerifier({
      session,
      sha256: (text) => createHash("sha256").update(text).digest("hex"),
      verifySignature: (agent, text, signature) => {
        const key = keys.get(agent);
        return key !== undefined && verifyEd25519(null, Buffer.from(text), key, Buffer.from(signature, "base64url"));
      },
    });
    verifier.line(line);
    lines += 1;
  }
  const verification = verifier?.finish(last === "\n");
  if (request.json)
    json({
      session,
      ...(verification ?? { ok: false, fault: { kind: "truncated", line: 0, seq: 0, message: "the recording is empty" }, proven: 0 }),
    });
  else if (verification === undefined) out("NOT VERIFIED: the recording is empty");
  else if (verification.ok)
    out(`verified: ${verification.events} events, ${verification.checkpoints} checkpoint(s), sealed by ${verification.agent}`);
  else
    out(
      `NOT VERIFIED: line ${verification.fault.line}: ${plain(verification.fault.message)} [${verification.fault.kind}]; ${verification.proven} of ${lines} events are proven`,
    );
  return verification?.ok === true ? EXIT.ok : EXIT.failed;
}
