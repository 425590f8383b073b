/**
 * Session credentials kept between the commands of one job, for tokens that cannot be minted again: such a token is good
 * for one exchange, and a job calls `sallyport` more than once. Files are 0600 in a directory of the user's own
 * (0700), named by a digest of gateway and token; a file that others could read or write is not used.
 */
import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
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

/** A directory of this user's alone, made if needed; undefined when there is no safe one. */
export function runtimeDirectory(env: Environment): string | undefined {
  const uid = process.getuid?.();
  const base = env["XDG_RUNTIME_DIR"] ?? env["RUNNER_TEMP"] ?? tmpdir();
  const path = join(base, `sallyport-${uid ?? userInfo().username}`);
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const stat = lstatSync(path);
    return stat.isDirectory() && (uid === undefined || (stat.uid === uid && (stat.mode & 0o077) === 0)) ? path : undefined;
  } catch {
    return undefined;
  }
}

export interface CredentialStore {
  load(token: string): KeptCredential | undefined;
  save(token: string, credential: KeptCredential): void;
  forget(token: string): void;
}

export function openCredentialStore(env: Environment, gateway: string): CredentialStore {
  const directory = runtimeDirectory(env);
  const fileOf = (token: string) =>
    join(directory ?? "", `credential-${createHash("sha256").update(`${gateway}\n${token}`).digest("hex").slice(0, 32)}.json`);
  return {
    load(token) {
      if (directory === undefined) return undefined;
      try {
        const parsed = Kept.safeParse(JSON.parse(readFileSync(fileOf(token), "utf8")));
        return parsed.success ? { ...parsed.data, key: parsed.data.key as JWK } : undefined;
      } catch {
        return undefined;
      }
    },
    save(token, credential) {
      if (directory === undefined) return;
      // Whole or not at all: another command of the job may be reading.
      const temporary = `${fileOf(token)}.${process.pid}`;
      writeFileSync(temporary, JSON.stringify(credential), { mode: 0o600 });
      renameSync(temporary, fileOf(token));
    },
    forget(token) {
      if (directory !== undefined) rmSync(fileOf(token), { force: true });
    },
  };
}
