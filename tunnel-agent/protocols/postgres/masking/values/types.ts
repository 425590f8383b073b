/**
 * Which types can be masked in kind, by OID (pg_type.dat: OIDs below 10000 are PostgreSQL's own and never change). Every
 * other type — composites, enums, extensions' types, OIDs, geometry — becomes NULL, which is valid in every format (PG-46).
 */
import { array } from "./arrays.ts";
import { integer } from "./integers.ts";
import { json, jsonb } from "./json.ts";
import type { Family } from "./mask.ts";
import { cidr, inet, macaddr } from "./network.ts";
import { numeric } from "./numeric.ts";
import { multirange, range } from "./ranges.ts";
import { bit, bool, bytea, float, money, uuid, varbit } from "./scalars.ts";
import { date, interval, time, timestamp, timestamptz, timetz } from "./temporal.ts";
import { bpchar, name, singleByte, text, xml } from "./text.ts";

/** A type's OID, its array type's, and how it is masked. */
const SCALARS: readonly (readonly [oid: number, arrayOid: number, family: Family])[] = [
  [25, 1009, text],
  [1043, 1015, text],
  [1042, 1014, bpchar],
  [19, 1003, name],
  [18, 1002, singleByte],
  [142, 143, xml],
  [16, 1000, bool],
  [21, 1005, integer(2)],
  [23, 1007, integer(4)],
  [20, 1016, integer(8)],
  [1700, 1231, numeric],
  [700, 1021, float(4)],
  [701, 1022, float(8)],
  [790, 791, money],
  [1082, 1182, date],
  [1083, 1183, time],
  [1266, 1270, timetz],
  [1114, 1115, timestamp],
  [1184, 1185, timestamptz],
  [1186, 1187, interval],
  [2950, 2951, uuid],
  [869, 1041, inet],
  [650, 651, cidr],
  [829, 1040, macaddr(6)],
  [774, 775, macaddr(8)],
  [114, 199, json],
  [3802, 3807, jsonb],
  [17, 1001, bytea],
  [1560, 1561, bit],
  [1562, 1563, varbit],
];

const UNKNOWN = 705;
/** int4, num, ts, tstz, date and int8, as ranges and as multiranges. */
const RANGES = [3904, 3906, 3908, 3910, 3912, 3926];
const MULTIRANGES = [4451, 4532, 4533, 4534, 4535, 4536];

export const FAMILIES: ReadonlyMap<number, Family> = new Map<number, Family>([
  [UNKNOWN, text],
  ...SCALARS.flatMap(([oid, arrayOid, family]): [number, Family][] => [
    [oid, family],
    [arrayOid, array(oid, family)],
  ]),
  ...RANGES.map((oid): [number, Family] => [oid, range]),
  ...MULTIRANGES.map((oid): [number, Family] => [oid, multirange]),
]);

const TEXTS = new Set([25, 1043, 1042, 19, 142, UNKNOWN]);

/** What detectors may look for in a type: how its values hold text, and of an array its elements' type. */
export type TextHolder = { readonly holds: "text" | "json" | "jsonb"; readonly elementOid: number | undefined };

const HOLDERS: ReadonlyMap<number, TextHolder> = new Map(
  [[UNKNOWN, 0] as const, ...SCALARS].flatMap(([oid, arrayOid]): [number, TextHolder][] => {
    const holds = TEXTS.has(oid) ? "text" : oid === 114 ? "json" : oid === 3802 ? "jsonb" : null;
    if (holds === null) return [];
    return [
      [oid, { holds, elementOid: undefined }],
      [arrayOid, { holds, elementOid: oid }],
    ];
  }),
);

export const textHolder = (oid: number): TextHolder | undefined => HOLDERS.get(oid);
/** Whether it is a type of PostgreSQL's own that is known here to hold no text. */
export const holdsNoText = (oid: number): boolean => FAMILIES.has(oid) && !HOLDERS.has(oid);
