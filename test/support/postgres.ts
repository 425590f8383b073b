/**
 * A throw-away PostgreSQL for tests: version 15 of the system where it is installed, or the embedded 18 that comes
 * with the dev dependencies. As root and as an ordinary user (dev/postgres.ts has how).
 */
import { existsSync } from "node:fs";
import { startPostgres as start, type PostgresServer } from "../../dev/postgres.ts";

export type { PostgresServer } from "../../dev/postgres.ts";

const DEBIAN_15 = "/usr/lib/postgresql/15/bin";

export interface StartOptions {
  /** Default: 15 where the system has it, else 18. */
  readonly version?: 15 | 18;
  /** Lines for postgresql.conf. */
  readonly settings?: readonly string[];
}

/** Versions that can be started here; never empty. */
export function availableVersions(): readonly (15 | 18)[] {
  return existsSync(`${DEBIAN_15}/postgres`) ? [15, 18] : [18];
}

export async function startPostgres(options: StartOptions = {}): Promise<PostgresServer> {
  const version = options.version ?? availableVersions()[0];
  return await start({
    ...(version === 15 ? { binaries: DEBIAN_15 } : {}),
    ...(options.settings === undefined ? {} : { settings: options.settings }),
  });
}
