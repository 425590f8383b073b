/**
 * The masking key of our frames (RFC 6455 section 5.3). A client masks what it sends, so that a script in a browser cannot
 * make bytes of its choice appear to a proxy that does not know WebSocket (section 10.3). Masking is a loop in
 * JavaScript: 4 ns a byte, more than everything else together. Where TLS or loopback leaves no such proxy, long messages
 * therefore carry the key 0, which is a valid key and costs nothing; all others carry random keys.
 */
import { randomFillSync } from "node:crypto";
import type { WebSocket } from "ws";

/** Bytes from which masking costs more than an extra buffer in the write. */
const LONG = 4096;

const pool = Buffer.alloc(8192);
let used = pool.length;
/** The message that is being handed to ws goes with key 0; ws asks for the key within send(). */
let plain = false;

/** `generateMask` of ws: fills `key`. */
export function maskingKey(key: Buffer): void {
  if (plain) {
    key.fill(0);
    return;
  }
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  pool.copy(key, 0, used, used + key.length);
  used += key.length;
}

/** TLS, or this machine itself: nothing in between looks into the connection. */
export function isShielded(url: URL): boolean {
  return url.protocol === "wss:" || url.protocol === "https:" || /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
}

/** Sends one message on a socket that openWebSocket made. `done`: it has left this process, or never will. */
export function sendMessage(socket: WebSocket, message: string | Uint8Array, shielded: boolean, done?: () => void): void {
  plain = shielded && message.length >= LONG;
  try {
    socket.send(message, done);
  } finally {
    plain = false;
  }
}
