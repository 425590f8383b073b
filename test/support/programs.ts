/**
 * Programs that tests use where they are installed: psql, pgbench, pg_dump, … With SALLYPORT_REQUIRE_ALL=1 their
 * absence is a failure; without, what needs them is skipped and counted.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** Full path: Debian's newest PostgreSQL first, then PATH. */
export function findProgram(name: string): string | undefined {
  const base = "/usr/lib/postgresql";
  const versions = existsSync(base) ? readdirSync(base).sort((a, b) => Number(b) - Number(a)) : [];
  const directories = [...versions.map((version) => join(base, version, "bin")), ...(process.env["PATH"] ?? "").split(":")];
  const found = directories.map((directory) => join(directory, name)).find((path) => existsSync(path));
  if (found === undefined && process.env["SALLYPORT_REQUIRE_ALL"] === "1") throw new Error(`${name} is required and not installed`);
  return found;
}
