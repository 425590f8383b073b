/**
 * Session credentials kept between the commands of one job, for tokens that cannot be minted again: such a token is good
 * for one exchange, and a job calls `sallyport` more than once. Files are 0600, named by a digest of gateway and token, in a
 * directory that is this user's alone; where there is none, nothing is kept. What has expired is removed.
 */
import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { isAbsolute, join } from "node:path";
import type { JWK } from "jose";
import * as z from "zod";
import type { Environment } from "./identity/types.ts";

const Kept = z.object({ access_token: z.string(), identity: z.string(), expires_at: z.number(), key: z.record(z.string(), z.unknown()) });

export interface KeptCredential {
  readonly access_token: string;
  readonly identity: string;
  /** ms since the epoch. */
  readonly expires_at: number;
  /** The private key it is bound to. */
  readonly key: JWK;
}

/**
 * A directory of this user's alone, made if needed; undefined when there is no safe one. The first of XDG_RUNTIME_DIR,
 * RUNNER_TEMP and the system's temporary directory in which there can be one, so the same for every command of a job.
 */
export function runtimeDirectory(env: Environment): string | undefined {
  const name = `sallyport-${process.getuid?.() ?? userInfo().username}`;
  // The XDG base directory specification: a path that is not absolute is to be ignored.
  const bases = [env["XDG_RUNTIME_DIR"], env["RUNNER_TEMP"], tmpdir()].filter((base) => base !== undefined && isAbsolute(base));
  return bases.map((base) => join(base ?? "", name)).find(isOurs);
}

function isOurs(path: string): boolean {
  const uid = process.getuid?.();
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    // Not followed: a link that someone put there is not a directory.
    const stat = lstatSync(path);
    return stat.isDirectory() && (uid === undefined || (stat.uid === uid && (stat.mode & 0o077) === 0));
  } catch {
    return false;
  }
}

export interface CredentialStore {
  /** False where there is no safe place: what is saved is then not found again. */
  readonly keeps: boolean;
  /** What was kept for this token and can be read; expired or not. */
  load(token: string): KeptCredential | undefined;
  /** Best effort: a credential that cannot be kept still serves the command that has it. */
  save(token: string, credential: KeptCredential): void;
}

const FILE = /^credential-[0-9a-f]{32}\.json$/;

/** `now`: ms since the epoch. */
export function openCredentialStore(env: Environment, gateway: string, now: () => number): CredentialStore {
  const directory = runtimeDirectory(env);
  if (directory === undefined) return { keeps: false, load: () => undefined, save: () => {} };
  const fileOf = (token: string): string =>
    join(directory, `credential-${createHash("sha256").update(`${gateway}\n${token}`).digest("hex").slice(0, 32)}.json`);
  return {
    keeps: true,
    load: (token) => read(fileOf(token)),
    save(token, { access_token, identity, expires_at, key }) {
      try {
        // Whole or not at all: another command of the job may be reading.
        const temporary = `${fileOf(token)}.${process.pid}`;
        writeFileSync(temporary, JSON.stringify({ access_token, identity, expires_at, key }), { mode: 0o600 });
        renameSync(temporary, fileOf(token));
        removeExpired(directory, now());
      } catch {
        // No space, or the directory was cleaned up under us.
      }
    },
  };
}

function read(path: string): KeptCredential | undefined {
  try {
    const parsed = Kept.safeParse(JSON.parse(readFileSync(path, "utf8")));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

function removeExpired(directory: string, now: number): void {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    if (FILE.test(name) && (read(path)?.expires_at ?? 0) <= now) rmSync(path, { force: true });
  }
}
