/**
 * What a connection begins with: a packet without a type byte, holding a version or a request code (manual sections
 * 55.2.1 and 55.7). Parameter pairs are read strictly: odd, duplicate, unnamed or unterminated ones are an error,
 * since a server would take the last of two users (PG-09).
 */
import { err, ok, type Result } from "../../../../protocol/result.ts";
import { BodyReader } from "./reader.ts";
import { CANCEL_REQUEST, GSSENC_REQUEST, SSL_REQUEST } from "./types.ts";
import type { MessageWriter } from "./writer.ts";

/** MAX_STARTUP_PACKET_LENGTH of PostgreSQL. */
export const MAX_STARTUP_BYTES = 10_000;
/** pid and key; the key of protocol 3.2 may have up to 256 bytes on the wire. */
const MAX_CANCEL_KEY = 256;

export type StartupPacket =
  | { readonly type: "SSLRequest" }
  | { readonly type: "GSSENCRequest" }
  | { readonly type: "CancelRequest"; readonly pid: number; readonly key: Buffer }
  | { readonly type: "StartupMessage"; readonly major: number; readonly minor: number; readonly parameters: ReadonlyMap<string, string> };

function parameters(reader: BodyReader): Map<string, string> {
  const pairs = new Map<string, string>();
  for (;;) {
    const name = reader.cstring();
    if (reader.failed || name === "") return pairs;
    const value = reader.cstring();
    if (pairs.has(name)) reader.fail("a parameter appears twice");
    pairs.set(name, value);
  }
}

/** `body`: everything after the length. A StartupMessage of another major version is returned without parameters: its layout is unknown. */
export function decodeStartup(body: Buffer): Result<StartupPacket, string> {
  const reader = new BodyReader(body);
  const code = reader.int32();
  const done = (packet: StartupPacket): Result<StartupPacket, string> => {
    const failure = reader.finish();
    return failure === null ? ok(packet) : err(`invalid startup packet: ${failure}`);
  };
  switch (code) {
    case SSL_REQUEST:
      return done({ type: "SSLRequest" });
    case GSSENC_REQUEST:
      return done({ type: "GSSENCRequest" });
    case CANCEL_REQUEST: {
      const pid = reader.int32();
      if (reader.left < 4 || reader.left > MAX_CANCEL_KEY) reader.fail("a cancel key of this length");
      return done({ type: "CancelRequest", pid, key: reader.rest() });
    }
    default: {
      const [major, minor] = [code >>> 16, code & 0xffff];
      if (major !== 3) return ok({ type: "StartupMessage", major, minor, parameters: new Map() });
      return done({ type: "StartupMessage", major, minor, parameters: parameters(reader) });
    }
  }
}

export function writeStartup(writer: MessageWriter, version: number, pairs: Iterable<readonly [string, string]>): void {
  writer.begin(0).int32(version);
  for (const [name, value] of pairs) writer.cstring(name).cstring(value);
  writer.byte(0).end();
}

export function writeSslRequest(writer: MessageWriter): void {
  writer.begin(0).int32(SSL_REQUEST).end();
}

export function writeCancelRequest(writer: MessageWriter, pid: number, key: Uint8Array): void {
  writer.begin(0).int32(CANCEL_REQUEST).int32(pid).bytes(key).end();
}
