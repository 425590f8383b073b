/**
 * Values of every type, as SQL literals; what PostgreSQL makes of them on the wire is asked of PostgreSQL. And every
 * strategy.
 */
import type { MaskStrategy } from "../../../../policy/types.ts";

export const STRATEGIES: Readonly<Record<string, MaskStrategy>> = {
  redact: { kind: "redact" },
  "partial last 4": { kind: "partial", keep: { first: 0, last: 4 } },
  "partial first 1 last 2": { kind: "partial", keep: { first: 1, last: 2 } },
  "partial domain": { kind: "partial", keep: "domain" },
  hash: { kind: "hash" },
  null: { kind: "null" },
  zero: { kind: "zero" },
  "generalise year": { kind: "generalise", to: "year" },
  "generalise month": { kind: "generalise", to: "month" },
  "generalise day": { kind: "generalise", to: "day" },
  "generalise step": { kind: "generalise", to: { step: 1000 } },
  "generalise network": { kind: "generalise", to: "network" },
};

/** What each strategy leaves of a type: by the strategy's kind. `null`: every value becomes NULL. */
export interface Sample {
  readonly type: string;
  /** Literals, without quotes. */
  readonly values: readonly string[];
  /** Strategies (their keys above) that keep a value of this type; all others make it NULL. */
  readonly keeps: readonly string[];
}

const ALL = Object.keys(STRATEGIES).filter((name) => name !== "null");
const NUMBER = ["hash", "zero", "generalise step"];
const DATE = ["hash", "zero", "generalise year", "generalise month", "generalise day"];
const NETWORK = ["hash", "zero", "generalise network"];

export const SAMPLES: readonly Sample[] = [
  {
    type: "text",
    values: ["anna@example.org", "4111111111111111", "jörg 😀 müller", "1987-03-05", "10.1.2.3", "-1234.5", " "],
    keeps: ALL,
  },
  { type: "varchar(40)", values: ["anna@example.org", "ключ-12345"], keeps: ALL },
  { type: "char(40)", values: ["anna@example.org", "4111111111111111"], keeps: ALL },
  { type: "name", values: ["anna@example.org", "x".repeat(63)], keeps: ALL },
  { type: '"char"', values: ["x", "é"], keeps: ["zero"] },
  { type: "xml", values: ['<a b="1">anna@example.org &amp; co</a>', "plain text of some length"], keeps: ALL },
  { type: "bool", values: ["t", "f"], keeps: ["zero"] },
  { type: "int2", values: ["0", "-32000", "32767", "1234"], keeps: NUMBER },
  { type: "int4", values: ["0", "-2147483000", "2147483647", "70000"], keeps: NUMBER },
  { type: "int8", values: ["0", "9223372036854775807", "-9223372036854770000", "4111111111111111"], keeps: NUMBER },
  {
    type: "numeric",
    values: ["0", "-12.50", "4111111111111111", "123456789012345678901234567890.000123", "1e300", "0.00001"],
    keeps: NUMBER,
  },
  { type: "numeric(20,4)", values: ["98765432.1000", "-1.0001", "10000"], keeps: NUMBER },
  { type: "float4", values: ["1234.5", "-0.001", "1e20"], keeps: ["zero", "generalise step"] },
  { type: "float8", values: ["1234.5", "-0.001", "1e200", "4111111111111111"], keeps: ["zero", "generalise step"] },
  { type: "money", values: ["1234.56", "-5"], keeps: ["zero"] },
  { type: "date", values: ["1987-03-05", "2000-02-29", "0001-01-01", "9999-12-31"], keeps: DATE },
  { type: "timestamp", values: ["1987-03-05 12:34:56.789", "2024-02-29 00:00:00", "0001-01-02 03:04:05"], keeps: DATE },
  { type: "timestamptz", values: ["1987-03-05 12:34:56.789+02", "2024-12-31 23:59:59.999999-08"], keeps: DATE },
  { type: "time", values: ["12:34:56.789", "00:00:01", "24:00:00"], keeps: ["hash", "zero"] },
  { type: "timetz", values: ["12:34:56.789+02", "23:59:59-03:30"], keeps: ["zero"] },
  { type: "interval", values: ["3 years 2 days 04:05:06", "-1 mon"], keeps: ["zero"] },
  { type: "uuid", values: ["550e8400-e29b-41d4-a716-446655440000"], keeps: ["hash", "zero"] },
  { type: "inet", values: ["10.1.2.3", "10.1.2.3/8", "2001:db8::ff00:42:8329", "::ffff:1.2.3.4/96"], keeps: NETWORK },
  { type: "cidr", values: ["10.1.0.0/16", "10.1.2.3/32", "2001:db8:1:2::/64"], keeps: NETWORK },
  { type: "macaddr", values: ["08:00:2b:01:02:03"], keeps: NETWORK },
  { type: "macaddr8", values: ["08:00:2b:01:02:03:04:05"], keeps: NETWORK },
  {
    type: "json",
    values: ['{"a": 1.50, "a": "x", "b": ["anna@example.org", null]}', '"4111111111111111"', "1234567", "true", "[1, 2]"],
    keeps: ALL,
  },
  { type: "jsonb", values: ['{"a": 1.50, "b": ["anna@example.org", null]}', '"1987-03-05"', "123456789.10", "{}"], keeps: ALL },
  { type: "bytea", values: ["\\x6f6e6c79", "\\x00ff5c27"], keeps: ["hash", "zero"] },
  { type: "bit(11)", values: ["10110011100"], keeps: ["zero"] },
  { type: "varbit", values: ["10110011100", "1"], keeps: ["zero"] },
  { type: "int4range", values: ["[1,10)", "(,)"], keeps: ["zero"] },
  { type: "numrange", values: ["[1.5,2.5]"], keeps: ["zero"] },
  { type: "daterange", values: ["[2024-01-01,2024-02-01)"], keeps: ["zero"] },
  { type: "tstzrange", values: ["[2024-01-01,)"], keeps: ["zero"] },
  { type: "int4multirange", values: ["{[1,3),[5,9)}"], keeps: ["zero"] },
  {
    type: "text[]",
    values: ['{anna@example.org,"a, \\"b\\" \\\\c",NULL,"NULL",""," x"}', "[0:1]={ab,cd}", "{{a,b},{c,d}}", '{"\u00a0"}'],
    keeps: ALL,
  },
  { type: "varchar[]", values: ["{4111111111111111,x}"], keeps: ALL },
  { type: "int4[]", values: ["{1,NULL,70000}", "{{1,2},{3,4}}", "[-2:0]={1,2,3}"], keeps: NUMBER },
  { type: "int8[]", values: ["{9223372036854775807,5}"], keeps: NUMBER },
  { type: "numeric[]", values: ["{1.50,NULL,-7}"], keeps: NUMBER },
  { type: "float8[]", values: ["{1.5,1e30}"], keeps: ["zero", "generalise step"] },
  { type: "bool[]", values: ["{t,f}"], keeps: ["zero"] },
  { type: "date[]", values: ["{1987-03-05,2024-02-29}"], keeps: DATE },
  { type: "timestamptz[]", values: ['{"1987-03-05 12:34:56+00",NULL}'], keeps: DATE },
  { type: "uuid[]", values: ["{550e8400-e29b-41d4-a716-446655440000}"], keeps: ["hash", "zero"] },
  { type: "inet[]", values: ["{10.1.2.3/8,::1}"], keeps: NETWORK },
  { type: "jsonb[]", values: ['{"{\\"a\\": [1, \\"x\\"]}","1"}'], keeps: ALL },
  { type: "bytea[]", values: ['{"\\\\x6f6e6c79"}'], keeps: ["hash", "zero"] },
  { type: "oid", values: ["16384"], keeps: [] },
  { type: "regclass", values: ["pg_class"], keeps: [] },
  { type: "xid8", values: ["7"], keeps: [] },
  { type: "point", values: ["(1,2)"], keeps: [] },
  { type: "tsvector", values: ["fat cat"], keeps: [] },
  { type: "pg_lsn", values: ["16/B374D848"], keeps: [] },
  { type: "mood", values: ["happy"], keeps: [] },
  { type: "person", values: ["(anna@example.org,37)"], keeps: [] },
  { type: "oidvector", values: ["1 2"], keeps: [] },
];
