/**
 * One value of a result as a recording keeps it: text where it is text or a binary form that is plain to read, else its
 * size. Input is what the client gets, so it is masked already; the detectors look over what is kept all the same.
 */
import type { ParameterRecord } from "../../../protocol/recording/event.ts";
import type * as z from "zod";

export type RecordedValue = z.infer<typeof ParameterRecord>;

/** Bytes of one value that is kept as text. */
const MAX_VALUE = 4096;
/** Shorter texts hold nothing that a detector knows. */
const LEAST_SENSITIVE = 6;

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function utf8(bytes: Buffer): string | null {
  try {
    return UTF8.decode(bytes);
  } catch {
    return null;
  }
}

const sized = (size: number, read: (bytes: Buffer) => string) => (bytes: Buffer) => (bytes.length === size ? read(bytes) : null);

/** Types by OID (pg_type.dat): the name to show, and how the binary form reads, where that is plain. */
const TYPES: ReadonlyMap<number, { readonly name: string; readonly binary?: (bytes: Buffer) => string | null }> = new Map([
  [16, { name: "boolean", binary: sized(1, (bytes) => (bytes[0] === 0 ? "f" : "t")) }],
  [17, { name: "bytea" }],
  [18, { name: "char", binary: utf8 }],
  [19, { name: "name", binary: utf8 }],
  [20, { name: "bigint", binary: sized(8, (bytes) => bytes.readBigInt64BE().toString()) }],
  [21, { name: "smallint", binary: sized(2, (bytes) => bytes.readInt16BE().toString()) }],
  [23, { name: "integer", binary: sized(4, (bytes) => bytes.readInt32BE().toString()) }],
  [25, { name: "text", binary: utf8 }],
  [26, { name: "oid", binary: sized(4, (bytes) => bytes.readUInt32BE().toString()) }],
  [114, { name: "json", binary: utf8 }],
  [142, { name: "xml", binary: utf8 }],
  [700, { name: "real", binary: sized(4, (bytes) => Math.fround(bytes.readFloatBE()).toString()) }],
  [701, { name: "double precision", binary: sized(8, (bytes) => bytes.readDoubleBE().toString()) }],
  [705, { name: "unknown", binary: utf8 }],
  [790, { name: "money" }],
  [869, { name: "inet" }],
  [1042, { name: "character", binary: utf8 }],
  [1043, { name: "character varying", binary: utf8 }],
  [1082, { name: "date" }],
  [1083, { name: "time" }],
  [1114, { name: "timestamp" }],
  [1184, { name: "timestamptz" }],
  [1186, { name: "interval" }],
  [1700, { name: "numeric" }],
  [2950, { name: "uuid", binary: sized(16, uuid) }],
  // Its version, then text.
  [3802, { name: "jsonb", binary: (bytes) => (bytes[0] === 1 ? utf8(bytes.subarray(1)) : null) }],
]);

function uuid(bytes: Buffer): string {
  const hex = bytes.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** A name for people; types of extensions and users are known by number only. */
export const typeName = (oid: number): string => TYPES.get(oid)?.name ?? (oid === 0 ? "" : `type ${oid}`);

/** `format`: 0 text, 1 binary. */
export function recordValue(bytes: Buffer, typeOid: number, format: number, maskText: (text: string) => string): RecordedValue {
  if (bytes.length > MAX_VALUE) return { bytes: bytes.length };
  const text = format === 0 ? utf8(bytes) : (TYPES.get(typeOid)?.binary?.(bytes) ?? null);
  if (text === null) return { bytes: bytes.length };
  return text.length < LEAST_SENSITIVE ? text : maskText(text);
}
