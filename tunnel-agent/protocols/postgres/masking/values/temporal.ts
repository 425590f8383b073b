/**
 * date, time, timetz, timestamp, timestamptz, interval. Binary forms (date_send, timestamp_send, …): days or microseconds
 * since 2000-01-01, Int32 or Int64; time as microseconds since midnight, timetz with seconds west of UTC after them.
 *
 * Text is read in DateStyle ISO only, and years 1 to 9999; anything else, infinity included, becomes NULL. Instants of
 * timestamptz are generalised and written in UTC, so that both formats agree whatever TimeZone says.
 */
import { unreachable } from "../../../../../protocol/result.ts";
import {
  DAY_US,
  FIRST_DAY,
  inCalendar,
  LAST_DAY,
  parseDate,
  parseOffset,
  parseTime,
  printDate,
  printTime,
  truncateDays,
  type Precision,
} from "../../../../masking/calendar.ts";
import type { KeyedHash } from "../../../../masking/keyed-hash.ts";
import { createPermutation } from "../../../../masking/permutation.ts";
import type { Generalisation } from "../../../../masking/generalise.ts";
import { constant, each, NULL, type Family, type Format } from "./mask.ts";

/** 2000-01-01, PostgreSQL's epoch, in days since 1970-01-01. */
const EPOCH_DAYS = 10_957;
const DAYS = BigInt(LAST_DAY - FIRST_DAY + 1);
const US_PER_DAY = BigInt(DAY_US);

const isPrecision = (to: Generalisation): to is Precision => to === "year" || to === "month" || to === "day";

/** Longest text of these types: a timestamp of a late year with a fraction and an offset. */
const MAX_TEXT = 48;
const ascii = (cell: Buffer): string => (cell.length <= MAX_TEXT ? cell.toString("latin1") : "");

/** What a family of these types needs to be read, changed and written: `V` counts from 1970-01-01, or from midnight. */
interface Kind<V> {
  read(cell: Buffer, format: Format): V | null;
  write(value: V, format: Format): Buffer;
  readonly zero: V;
  /** Null where values of this type are not permuted. */
  permute: ((hash: KeyedHash) => (value: V) => V) | null;
  truncate: ((value: V, to: Precision) => V) | null;
}

function family<V>(kind: Kind<V>): Family {
  return ({ strategy, format, hash }) => {
    const through = (change: (value: V) => V) =>
      each((cell) => {
        const value = kind.read(cell, format);
        return value === null ? null : kind.write(change(value), format);
      });
    switch (strategy.kind) {
      case "redact":
      case "partial":
      case "null":
        return NULL;
      case "zero":
        return constant(kind.write(kind.zero, format));
      case "hash":
        return kind.permute === null ? NULL : through(kind.permute(hash));
      case "generalise": {
        const { to } = strategy;
        const { truncate } = kind;
        return truncate === null || !isPrecision(to) ? NULL : through((value) => truncate(value, to));
      }
      default:
        return unreachable(strategy);
    }
  };
}

export const date = family<number>({
  read(cell, format) {
    if (format === 0) return parseDate(ascii(cell));
    const days = cell.length === 4 ? cell.readInt32BE(0) + EPOCH_DAYS : Number.NaN;
    return inCalendar(days) ? days : null;
  },
  write(days, format) {
    if (format === 0) return Buffer.from(printDate(days), "latin1");
    const out = Buffer.alloc(4);
    out.writeInt32BE(days - EPOCH_DAYS);
    return out;
  },
  zero: 0,
  permute(hash) {
    const permute = createPermutation(hash, "permutation date", DAYS);
    return (days) => Number(permute(BigInt(days - FIRST_DAY))) + FIRST_DAY;
  },
  truncate: truncateDays,
});

/** Microseconds since 1970-01-01 00:00:00, UTC where there is a zone. */
function readTimestamp(text: string, zoned: boolean): bigint | null {
  const match = /^(\d{4}-\d\d-\d\d) ([\d:.]+)([+-][\d:]+)?$/.exec(text);
  if (match === null || (match[3] !== undefined) !== zoned) return null;
  const days = parseDate(match[1] ?? "");
  const us = parseTime(match[2] ?? "");
  const east = zoned ? parseOffset(match[3] ?? "") : 0;
  if (days === null || us === null || east === null) return null;
  return BigInt(days) * US_PER_DAY + BigInt(us) - BigInt(east) * 1_000_000n;
}

function split(us: bigint): { readonly days: number; readonly us: number } {
  const rest = ((us % US_PER_DAY) + US_PER_DAY) % US_PER_DAY;
  return { days: Number((us - rest) / US_PER_DAY), us: Number(rest) };
}

const timestampKind = (zoned: boolean): Kind<bigint> => ({
  read(cell, format) {
    const epoch = BigInt(EPOCH_DAYS) * US_PER_DAY;
    const us = format === 0 ? readTimestamp(ascii(cell), zoned) : cell.length === 8 ? cell.readBigInt64BE(0) + epoch : null;
    return us !== null && inCalendar(split(us).days) ? us : null;
  },
  write(value, format) {
    const { days, us } = split(value);
    if (format === 0) return Buffer.from(`${printDate(days)} ${printTime(us)}${zoned ? "+00" : ""}`, "latin1");
    const out = Buffer.alloc(8);
    out.writeBigInt64BE(value - BigInt(EPOCH_DAYS) * US_PER_DAY);
    return out;
  },
  zero: 0n,
  permute(hash) {
    const first = BigInt(FIRST_DAY) * US_PER_DAY;
    const permute = createPermutation(hash, "permutation timestamp", DAYS * US_PER_DAY);
    return (value) => permute(value - first) + first;
  },
  truncate: (value, to) => BigInt(truncateDays(split(value).days, to)) * US_PER_DAY,
});

export const timestamp = family(timestampKind(false));
export const timestamptz = family(timestampKind(true));

export const time = family<number>({
  read(cell, format) {
    if (format === 0) return parseTime(ascii(cell));
    const us = cell.length === 8 ? Number(cell.readBigInt64BE(0)) : -1;
    return us >= 0 && us <= DAY_US ? us : null;
  },
  write(us, format) {
    if (format === 0) return Buffer.from(printTime(us), "latin1");
    const out = Buffer.alloc(8);
    out.writeBigInt64BE(BigInt(us));
    return out;
  },
  zero: 0,
  permute(hash) {
    const permute = createPermutation(hash, "permutation time", US_PER_DAY + 1n);
    return (us) => Number(permute(BigInt(us)));
  },
  truncate: null,
});

const zeroOnly =
  (text: string, bytes: number): Family =>
  ({ strategy, format }) =>
    strategy.kind === "zero" ? constant(format === 0 ? text : Buffer.alloc(bytes)) : NULL;

export const timetz = zeroOnly("00:00:00+00", 12);
/** Microseconds, days, months. */
export const interval = zeroOnly("00:00:00", 16);
