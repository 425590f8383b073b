/**
 * Reads credentials by reference. A value is read at each use (files are therefore re-read when they change), given
 * to whoever opens a connection to the target, and kept nowhere but in the redactor, which needs it to recognise it.
 *
 * Guarantees: an error names the reference and what is wrong with it, never the value or a command's output.
 * It does not protect against whoever can read the agent's memory.
 */
import { execFile } from "node:child_process";
import { constants, type Stats } from "node:fs";
import { open } from "node:fs/promises";
import { isAbsolute, resolve } from "node:path";
import type { Logger } from "pino";
import { unreachable } from "../../protocol/result.ts";
import type { Credential } from "../session.ts";
import { parseReference, type Reference } from "./reference.ts";
import type { Redactor } from "./redactor.ts";

/** A value may hold this many bytes. */
export const MAX_CREDENTIAL_BYTES = 64 * 1024;
/** An `exec:` command may take this long, and its output is reused for this long, ms. */
export const EXEC_TIMEOUT_MS = 10_000;
export const EXEC_CACHE_MS = 10_000;

export class CredentialUnavailable extends Error {
  override name = "CredentialUnavailable";
}

export interface CredentialStoreOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Relative `file:` paths are relative to this directory: that of agent.yaml. */
  readonly directory: string;
  readonly redactor: Redactor;
  readonly log: Logger;
  /** Monotonic, ms. */
  readonly monotonic: () => number;
}

export class CredentialStore {
  readonly #o: CredentialStoreOptions;
  readonly #executed = new Map<string, { readonly value: Promise<string>; readonly until: number }>();
  readonly #warned = new Set<string>();

  constructor(options: CredentialStoreOptions) {
    this.#o = options;
  }

  /** @throws Error for a reference that the configuration should not have let through. */
  credential(reference: string): Credential {
    const parsed = parseReference(reference);
    if (!parsed.ok) throw new Error(parsed.error);
    return { reference, read: () => this.#read(parsed.value, reference) };
  }

  async #read(parsed: Reference, reference: string): Promise<string> {
    const text = await this.#fetch(parsed, reference);
    const value = text.replace(/\r?\n$/, "");
    if (value === "") throw new CredentialUnavailable(`${reference}: it is empty`);
    if (value.includes("\0")) throw new CredentialUnavailable(`${reference}: it holds a NUL byte`);
    this.#o.redactor.add(reference, value);
    return value;
  }

  async #fetch(parsed: Reference, reference: string): Promise<string> {
    switch (parsed.kind) {
      case "env": {
        const value = this.#o.env[parsed.name];
        if (value === undefined) throw new CredentialUnavailable(`${reference}: the environment variable is not set`);
        return value;
      }
      case "file":
        return this.#readFile(isAbsolute(parsed.path) ? parsed.path : resolve(this.#o.directory, parsed.path), reference);
      case "exec":
        return this.#execute(parsed.command, parsed.args, reference);
      default:
        return unreachable(parsed);
    }
  }

  async #readFile(path: string, reference: string): Promise<string> {
    try {
      const file = await open(path, "r");
      try {
        const stats = await file.stat();
        if (!stats.isFile()) throw new CredentialUnavailable(`${reference}: it is not a regular file`);
        this.#warnIfOpen(stats, reference);
        if (stats.size > MAX_CREDENTIAL_BYTES)
          throw new CredentialUnavailable(`${reference}: it is larger than ${MAX_CREDENTIAL_BYTES} bytes`);
        return await file.readFile("utf8");
      } finally {
        await file.close();
      }
    } catch (error) {
      throw error instanceof CredentialUnavailable
        ? error
        : new CredentialUnavailable(`${reference}: the file could not be read: ${codeOf(error)}`);
    }
  }

  #warnIfOpen(stats: Stats, reference: string): void {
    if ((stats.mode & constants.S_IRWXO) === 0 || this.#warned.has(reference)) return;
    this.#warned.add(reference);
    this.#o.log.warn({ reference }, "a credential file is open to every user of this machine: chmod o= it");
  }

  #execute(command: string, args: readonly string[], reference: string): Promise<string> {
    const cached = this.#executed.get(reference);
    if (cached !== undefined && cached.until > this.#o.monotonic()) return cached.value;
    const value = run(command, args, { cwd: this.#o.directory, env: this.#o.env }, reference);
    const entry = { value, until: this.#o.monotonic() + EXEC_TIMEOUT_MS + EXEC_CACHE_MS };
    this.#executed.set(reference, entry);
    value.then(
      () => this.#executed.set(reference, { value, until: this.#o.monotonic() + EXEC_CACHE_MS }),
      // A failure is not kept: the next connection tries again.
      () => this.#executed.delete(reference),
    );
    return value;
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "unknown error";

interface Surroundings {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

function run(command: string, args: readonly string[], { cwd, env }: Surroundings, reference: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      cwd,
      env: { ...env },
      timeout: EXEC_TIMEOUT_MS,
      killSignal: "SIGKILL",
      maxBuffer: MAX_CREDENTIAL_BYTES,
      shell: false,
    } as const;
    const child = execFile(command, args, options, (error, stdout) => {
      if (error === null) resolve(stdout);
      // The error's own message repeats the command's stderr: only the kind of failure goes on.
      else reject(new CredentialUnavailable(`${reference}: ${failureOf(error)}`));
    });
    child.stdin?.end();
  });
}

function failureOf(error: { readonly code?: unknown; readonly killed?: boolean | undefined; readonly signal?: unknown }): string {
  if (error.code === "ERR_CHILD_PROCESS_STDIO_MAXBUFFER") return `the command wrote more than ${MAX_CREDENTIAL_BYTES} bytes`;
  if (typeof error.code === "string") return `the command could not be started: ${error.code}`;
  if (error.killed === true) return `the command did not end within ${EXEC_TIMEOUT_MS} ms`;
  if (typeof error.code === "number") return `the command ended with status ${error.code}`;
  return `the command was ended by ${String(error.signal)}`;
}
