/**
 * Which types can be masked in kind, by OID (pg_type.dat; OIDs below 10000 are PostgreSQL's own and never change). Every
 * other type — composites, enums, extensions, OIDs, geometry — becomes NULL, which is valid in every format (PG-46).
 */
import type { Family } from "./mask.ts";
import { bpchar, name, singleByte, text, xml } from "./text.ts";

export const FAMILIES: ReadonlyMap<number, Family> = new Map<number, Family>([
  [25, text],
  [705, text],
  [1043, text],
  [1042, bpchar],
  [19, name],
  [18, singleByte],
  [142, xml],
]);
