/**
 * Binary frames of the session socket, one a WebSocket message. All integers are big-endian.
 *
 *     DATA    01 | flags: 01 FIN    | stream u32 | offset u64 | payload, 0…MAX_FRAME_PAYLOAD bytes
 *     WINDOW  02 | flags: 01 DONE   | stream u32 | ack u64    | limit u64
 *     RESET   03 | flags: 01 ANSWER | stream u32 | code u16
 *
 * Decoding is strict: an unknown type, flag or code, a length that is not exactly the frame's, stream 0, or an
 * offset beyond 2^53−1 is an error; nothing is allocated for a frame that breaks its limit. A decoded payload is a view
 * of the input, not a copy. What frames mean in sequence is machine.ts's business.
 */
import { MAX_FRAME_PAYLOAD } from "../limits.ts";
import { err, ok, type Result } from "../result.ts";
import type { ResetCode } from "./control.ts";

const TYPE = { data: 1, window: 2, reset: 3 } as const;
const FLAG = 1; // FIN of DATA, DONE of WINDOW, ANSWER of RESET

export const DATA_HEADER = 14;
const WINDOW_BYTES = 22;
const RESET_BYTES = 8;
/** The longest binary message a peer may send. */
export const MAX_FRAME = DATA_HEADER + MAX_FRAME_PAYLOAD;

const RESET_NUMBER = { cancelled: 1, refused: 2, internal: 3 } as const satisfies Record<ResetCode, number>;
const RESET_OF_NUMBER = new Map(Object.entries(RESET_NUMBER).map(([code, number]) => [number as number, code as ResetCode]));

export type Frame =
  | { readonly type: "data"; readonly stream: number; readonly fin: boolean; readonly offset: number; readonly payload: Uint8Array }
  | { readonly type: "window"; readonly stream: number; readonly done: boolean; readonly ack: number; readonly limit: number }
  | { readonly type: "reset"; readonly stream: number; readonly answer: boolean; readonly code: ResetCode };

function putU32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}

function putU64(target: Uint8Array, at: number, value: number): void {
  putU32(target, at, Math.floor(value / 0x1_0000_0000));
  putU32(target, at + 4, value % 0x1_0000_0000);
}

// The callers have checked the length, so the bytes are there: `?? 0` only satisfies noUncheckedIndexedAccess.
function u32(bytes: Uint8Array, at: number): number {
  return (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
}

const u64 = (bytes: Uint8Array, at: number): number => u32(bytes, at) * 0x1_0000_0000 + u32(bytes, at + 4);

/** Memory for a frame; what is in it does not matter. */
export type Allocate = (bytes: number) => Uint8Array;

/**
 * Begins a DATA frame: the caller fills the `length` bytes from DATA_HEADER on, so that payload pieces are copied once,
 * straight to their place.
 */
export function beginData(stream: number, offset: number, length: number, fin: boolean, allocate: Allocate = cleared): Uint8Array {
  const frame = allocate(DATA_HEADER + length);
  frame[0] = TYPE.data;
  frame[1] = fin ? FLAG : 0;
  putU32(frame, 2, stream);
  putU64(frame, 6, offset);
  return frame;
}

export const cleared: Allocate = (bytes) => new Uint8Array(bytes);

export function encodeWindow(stream: number, ack: number, limit: number, done: boolean): Uint8Array {
  const frame = new Uint8Array(WINDOW_BYTES);
  frame[0] = TYPE.window;
  frame[1] = done ? FLAG : 0;
  putU32(frame, 2, stream);
  putU64(frame, 6, ack);
  putU64(frame, 14, limit);
  return frame;
}

export function encodeReset(stream: number, code: ResetCode, answer: boolean): Uint8Array {
  const frame = new Uint8Array(RESET_BYTES);
  frame[0] = TYPE.reset;
  frame[1] = answer ? FLAG : 0;
  putU32(frame, 2, stream);
  frame[7] = RESET_NUMBER[code]; // u16 whose high byte is 0
  return frame;
}

/** Decodes one binary message; the error is a sentence for the peer and the log. */
export function decodeFrame(bytes: Uint8Array): Result<Frame, string> {
  if (bytes.length < RESET_BYTES) return err(`frame of ${bytes.length} bytes: shorter than any frame`);
  const type = bytes[0];
  const flags = bytes[1] ?? 0;
  const stream = u32(bytes, 2);
  if (stream === 0) return err("frame for stream 0");
  switch (type) {
    case TYPE.data:
      return decodeData(bytes, flags, stream);
    case TYPE.window:
      return decodeWindow(bytes, flags, stream);
    case TYPE.reset:
      return decodeReset(bytes, flags, stream);
    default:
      return err(`frame of unknown type ${type}`);
  }
}

function decodeData(bytes: Uint8Array, flags: number, stream: number): Result<Frame, string> {
  if ((flags & ~FLAG) !== 0) return err(`DATA with unknown flags ${flags}`);
  const length = bytes.length - DATA_HEADER;
  if (length < 0) return err(`DATA of ${bytes.length} bytes: shorter than its header`);
  if (length > MAX_FRAME_PAYLOAD) return err(`DATA with ${length} bytes of payload, limit ${MAX_FRAME_PAYLOAD}`);
  const fin = flags === FLAG;
  if (length === 0 && !fin) return err("DATA with neither payload nor FIN");
  const offset = u64(bytes, 6);
  if (offset > Number.MAX_SAFE_INTEGER - length) return err("DATA whose offset exceeds 2^53−1");
  return ok({ type: "data", stream, fin, offset, payload: bytes.subarray(DATA_HEADER) });
}

function decodeWindow(bytes: Uint8Array, flags: number, stream: number): Result<Frame, string> {
  if ((flags & ~FLAG) !== 0) return err(`WINDOW with unknown flags ${flags}`);
  if (bytes.length !== WINDOW_BYTES) return err(`WINDOW of ${bytes.length} bytes, must be ${WINDOW_BYTES}`);
  const ack = u64(bytes, 6);
  const limit = u64(bytes, 14);
  if (ack > Number.MAX_SAFE_INTEGER || limit > Number.MAX_SAFE_INTEGER) return err("WINDOW whose offsets exceed 2^53−1");
  if (limit < ack) return err("WINDOW whose limit is below its acknowledgement");
  return ok({ type: "window", stream, done: flags === FLAG, ack, limit });
}

function decodeReset(bytes: Uint8Array, flags: number, stream: number): Result<Frame, string> {
  if ((flags & ~FLAG) !== 0) return err(`RESET with unknown flags ${flags}`);
  if (bytes.length !== RESET_BYTES) return err(`RESET of ${bytes.length} bytes, must be ${RESET_BYTES}`);
  const number = ((bytes[6] ?? 0) << 8) | (bytes[7] ?? 0);
  const code = RESET_OF_NUMBER.get(number);
  return code === undefined ? err(`RESET with unknown code ${number}`) : ok({ type: "reset", stream, answer: flags === FLAG, code });
}
