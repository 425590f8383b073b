/**
 * The spool: one append-only file a session under `state_dir/spool`, where events rest until the gateway has
 * acknowledged them. A write is synchronous and whole: when it fails (full disk, size limit), the file is cut back
 * to its last whole line and RecordingUnavailable is thrown. After the death of the process the lines are there;
 * after the death of the machine only with `fsync`.
 *
 * The cap counts all files. New work (sessions, streams, commands) is refused beyond it; what closes begun work
 * (outcomes, ends, seals) may use RESERVE_BYTES more, so that a full spool still ends in sealed recordings.
 */
import {
  closeSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { parseSessionId } from "../../protocol/ids.ts";
import { RecordingUnavailable } from "./recorder.ts";

/** Beyond the cap, for ending what has begun. */
export const RESERVE_BYTES = 16 * 1024 * 1024;
const SUFFIX = ".ndjson";

/** `new`: begins work and is refused at the cap; `closing`: ends work. */
export type Purpose = "new" | "closing";

const reasonOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "the write failed";

export class Spool {
  readonly directory: string;
  readonly #maxBytes: number;
  readonly #fsync: boolean;
  #bytes = 0;

  constructor(options: { readonly directory: string; readonly maxBytes: number; readonly fsync: boolean }) {
    this.directory = options.directory;
    this.#maxBytes = options.maxBytes;
    this.#fsync = options.fsync;
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.directory)) this.#bytes += statSync(join(this.directory, name)).size;
  }

  /** Bytes in all files. */
  get bytes(): number {
    return this.#bytes;
  }

  get maxBytes(): number {
    return this.#maxBytes;
  }

  path(session: string): string {
    return join(this.directory, session + SUFFIX);
  }

  /** Sessions with a file here, oldest name order. */
  sessions(): string[] {
    return readdirSync(this.directory)
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) => name.slice(0, -SUFFIX.length))
      .filter((name) => parseSessionId(name).ok)
      .sort();
  }

  /** @throws RecordingUnavailable when the file exists or cannot be made. */
  create(session: string): SpoolFile {
    return this.#open(session, "wx", 0);
  }

  /** Goes on with a file that recovery has checked: `size` bytes of it are good. */
  reopen(session: string, size: number): SpoolFile {
    return this.#open(session, "r+", size);
  }

  #open(session: string, flags: string, size: number): SpoolFile {
    let fd: number;
    try {
      fd = openSync(this.path(session), flags, 0o600);
      if (this.#fsync) this.#syncDirectory();
    } catch (error) {
      throw new RecordingUnavailable(`the spool file could not be opened: ${reasonOf(error)}`);
    }
    return new SpoolFile(fd, size, this.#fsync, {
      admit: (length, purpose) => {
        const limit = purpose === "new" ? this.#maxBytes : this.#maxBytes + RESERVE_BYTES;
        if (this.#bytes + length > limit) throw new RecordingUnavailable(`the spool holds its limit of ${this.#maxBytes} bytes`);
      },
      grown: (length) => {
        this.#bytes += length;
      },
    });
  }

  #syncDirectory(): void {
    const fd = openSync(this.directory, "r");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Corrects the count after recovery has cut or moved something. */
  adjust(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Everything is acknowledged: the file goes. */
  remove(session: string): void {
    const path = this.path(session);
    const { size } = statSync(path);
    unlinkSync(path);
    this.#bytes -= size;
  }

  /** A file in which not even session.start could be written. */
  discard(session: string): void {
    rmSync(this.path(session), { force: true });
  }

  /** Bytes `from`–`to` of a session's file. Its descriptor is not shared with the writer's. */
  async read(session: string, from: number, to: number): Promise<Buffer<ArrayBuffer>> {
    const file = await open(this.path(session), "r");
    try {
      const buffer = Buffer.alloc(to - from);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, from);
      if (bytesRead !== buffer.length)
        throw new Error(`the spool file is shorter than it was: ${bytesRead} of ${buffer.length} bytes at ${from}`);
      return buffer;
    } finally {
      await file.close();
    }
  }
}

interface Accounts {
  admit(length: number, purpose: Purpose): void;
  grown(length: number): void;
}

export class SpoolFile {
  readonly #fd: number;
  readonly #fsync: boolean;
  readonly #accounts: Accounts;
  #size: number;
  #closed = false;

  constructor(fd: number, size: number, fsync: boolean, accounts: Accounts) {
    this.#fd = fd;
    this.#size = size;
    this.#fsync = fsync;
    this.#accounts = accounts;
  }

  /** Bytes of whole lines. */
  get size(): number {
    return this.#size;
  }

  /** Appends one line. @throws RecordingUnavailable, and then the file is as before. `sync` asks for fsync where it is configured. */
  append(line: Buffer, purpose: Purpose, sync: boolean): void {
    if (this.#closed) throw new RecordingUnavailable("the recording is closed");
    this.#accounts.admit(line.length, purpose);
    let written = 0;
    try {
      while (written < line.length) written += writeSync(this.#fd, line, written, line.length - written, this.#size + written);
      if (sync && this.#fsync) fdatasyncSync(this.#fd);
    } catch (error) {
      this.#cutBack();
      throw new RecordingUnavailable(`the spool could not be written: ${reasonOf(error)}`);
    }
    this.#size += line.length;
    this.#accounts.grown(line.length);
  }

  #cutBack(): void {
    try {
      ftruncateSync(this.#fd, this.#size);
    } catch {
      // Writes are positioned at #size, so the next whole line overwrites the torn one; recovery cuts a torn tail too.
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#fd);
  }
}
