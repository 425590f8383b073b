/**
 * Questions to the catalogue of PostgreSQL's own names. `major` is the target's version where it is known; a name that
 * not every version has counts as the server's own only on a version that is known to have it.
 */
import { CATALOGUE, MAJORS } from "./catalogue.ts";

type List = keyof typeof CATALOGUE;

const KNOWN = new Map<List, ReadonlyMap<string, readonly number[]>>();
for (const list of Object.keys(CATALOGUE) as List[]) {
  const names = new Map<string, readonly number[]>();
  for (const [key, text] of Object.entries(CATALOGUE[list])) {
    const majors = key === "all" ? MAJORS : key.split(",").map(Number);
    for (const name of text.trim().split(/\s+/)) names.set(name, majors);
  }
  KNOWN.set(list, names);
}

const NEWEST = Math.max(...MAJORS);
const OLDEST = Math.min(...MAJORS);

/** `yes`: on this server for certain; `maybe`: on some version that this server may be. */
export function listed(list: List, name: string, major: number | undefined): "yes" | "maybe" | "no" {
  const majors = KNOWN.get(list)?.get(name);
  if (majors === undefined) return "no";
  if (majors.length === MAJORS.length) return "yes";
  if (major === undefined) return "maybe";
  if (major >= NEWEST) return majors.includes(NEWEST) ? "yes" : "no";
  if (major <= OLDEST) return majors.includes(OLDEST) ? "yes" : "no";
  return "maybe";
}
