/**
 * Types with room for little but their zero: bool, float4, float8, money, bit, varbit; and bytea and uuid, whose hash is
 * bytes. Forms of the binary format: boolsend, float8send, cash_send, bit_send (Int32 length in bits, then the bits),
 * byteasend, uuid_send.
 *
 * Does not: hash floats (equality of floats is nothing to join by) or read money's text, whose form is the locale's.
 */
import { hex, type KeyedHash } from "../../../../masking/keyed-hash.ts";
import { constant, each, NULL, type Family, type Format } from "./mask.ts";
import { decodeText } from "./text.ts";

const zeroOnly =
  (zero: (format: Format) => Buffer | string): Family =>
  ({ strategy, format }) =>
    strategy.kind === "zero" ? constant(zero(format)) : NULL;

export const bool = zeroOnly((format) => (format === 0 ? "f" : Buffer.of(0)));
export const money = zeroOnly((format) => (format === 0 ? "$0.00" : Buffer.alloc(8)));
export const varbit = zeroOnly((format) => (format === 0 ? "" : Buffer.alloc(4)));

/** bit(n) has n bits, whatever they are. */
export const bit: Family = ({ strategy, format }) => {
  if (strategy.kind !== "zero") return NULL;
  return each((cell) => {
    if (format === 0) return /^[01]*$/.test(cell.toString("latin1")) ? Buffer.alloc(cell.length, "0") : null;
    const bits = cell.length < 4 ? -1 : cell.readInt32BE(0);
    if (bits < 0 || cell.length !== 4 + Math.ceil(bits / 8)) return null;
    const out = Buffer.alloc(cell.length);
    out.writeInt32BE(bits, 0);
    return out;
  });
};

function readFloat(cell: Buffer, bytes: 4 | 8, format: Format): number | null {
  if (format === 1) return cell.length !== bytes ? null : bytes === 4 ? cell.readFloatBE(0) : cell.readDoubleBE(0);
  const text = cell.length <= 32 ? cell.toString("latin1") : "";
  return /^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/.test(text) ? Number(text) : null;
}

function writeFloat(value: number, bytes: 4 | 8, format: Format): Buffer {
  if (format === 0) return Buffer.from(String(value), "latin1");
  const out = Buffer.alloc(bytes);
  if (bytes === 4) out.writeFloatBE(value);
  else out.writeDoubleBE(value);
  return out;
}

export const float =
  (bytes: 4 | 8): Family =>
  ({ strategy, format }) => {
    if (strategy.kind === "zero") return constant(writeFloat(0, bytes, format));
    if (strategy.kind !== "generalise" || typeof strategy.to === "string") return NULL;
    const { step } = strategy.to;
    if (!(step > 0)) return NULL;
    return each((cell) => {
      const value = readFloat(cell, bytes, format);
      const floored = value === null ? Number.NaN : Math.floor(value / step) * step;
      return Number.isFinite(floored) ? writeFloat(floored, bytes, format) : null;
    });
  };

const BACKSLASH = 0x5c;

/** Both forms of bytea_output: `\x` and hexadecimal digits, or the old one with octal escapes. */
function readBytea(cell: Buffer, format: Format): Buffer | null {
  if (format === 1) return cell;
  const text = cell.toString("latin1");
  if (text.startsWith("\\x")) {
    const bytes = Buffer.from(text.slice(2), "hex");
    return bytes.length * 2 === text.length - 2 ? bytes : null;
  }
  const out: number[] = [];
  for (let at = 0; at < text.length; at++) {
    if (text.charCodeAt(at) !== BACKSLASH) out.push(text.charCodeAt(at));
    else if (text.charCodeAt(at + 1) === BACKSLASH) {
      out.push(BACKSLASH);
      at++;
    } else {
      const octal = text.slice(at + 1, at + 4);
      if (!/^[0-3][0-7]{2}$/.test(octal)) return null;
      out.push(Number.parseInt(octal, 8));
      at += 3;
    }
  }
  return Buffer.from(out);
}

export const bytea: Family = ({ strategy, format, hash }) => {
  if (strategy.kind === "zero") return constant(format === 0 ? "\\x" : "");
  if (strategy.kind !== "hash") return NULL;
  return each((cell) => {
    const bytes = readBytea(cell, format);
    if (bytes === null) return null;
    const digest = hash.digest("bytea", bytes);
    return format === 0 ? Buffer.from(`\\x${digest}`, "latin1") : Buffer.from(digest, "hex");
  });
};

/** RFC 9562 section 5.8: version 8, whose other 122 bits are the maker's own. */
function uuidOf(hash: KeyedHash, bytes: Uint8Array): Buffer {
  const out = Buffer.from(hash.digest("uuid", bytes).slice(0, 32), "hex");
  out[6] = ((out[6] ?? 0) & 0x0f) | 0x80;
  out[8] = ((out[8] ?? 0) & 0x3f) | 0x80;
  return out;
}

const printUuid = (bytes: Uint8Array): string =>
  [hex(bytes, 0, 4), hex(bytes, 4, 6), hex(bytes, 6, 8), hex(bytes, 8, 10), hex(bytes, 10, 16)].join("-");

function readUuid(cell: Buffer, format: Format): Uint8Array | null {
  if (format === 1) return cell.length === 16 ? cell : null;
  const text = (cell.length === 36 ? decodeText(cell) : null) ?? "";
  return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text) ? Buffer.from(text.replaceAll("-", ""), "hex") : null;
}

export const uuid: Family = ({ strategy, format, hash }) => {
  const write = (bytes: Uint8Array): Buffer => Buffer.from(format === 0 ? printUuid(bytes) : bytes);
  if (strategy.kind === "zero") return constant(write(new Uint8Array(16)));
  if (strategy.kind !== "hash") return NULL;
  return each((cell) => {
    const bytes = readUuid(cell, format);
    return bytes === null ? null : write(uuidOf(hash, bytes));
  });
};
