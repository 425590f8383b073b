/**
 * The agent's own files: `state_dir`, mode 0700, used by one process at a time. Small files are replaced whole
 * (write beside, fsync, rename), so a crash leaves the old or the new one, never a part. Files with secrets are
 * 0600, and one that others may read is refused, since it must count as known to them.
 */
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

export class StateError extends Error {
  override name = "StateError";
}

/** Lock files held by this process: a second agent in it is refused like one in another process. */
const held = new Set<string>();

export class StateDirectory {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Makes the directory if need be and locks it. @throws StateError */
  static open(path: string): StateDirectory {
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      if ((statSync(path).mode & 0o077) !== 0) chmodSync(path, 0o700);
    } catch (error) {
      throw new StateError(`state_dir ${path} cannot be used: ${codeOf(error)}`);
    }
    const directory = new StateDirectory(path);
    directory.#lock();
    return directory;
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /** Null when it does not exist. @throws StateError when others may read a secret one. */
  read(name: string, secret = false): string | null {
    const path = this.file(name);
    try {
      if (secret && (statSync(path).mode & 0o077) !== 0) {
        throw new StateError(
          `${path} can be read by others than its owner: treat the key as known, or chmod 600 it if you are sure it is not`,
        );
      }
      return readFileSync(path, "utf8");
    } catch (error) {
      if (error instanceof StateError) throw error;
      if (codeOf(error) === "ENOENT") return null;
      throw new StateError(`${path} cannot be read: ${codeOf(error)}`);
    }
  }

  /** Replaces the file whole; 0600. @throws StateError */
  write(name: string, content: string): void {
    const path = this.file(name);
    const beside = `${path}.new`;
    try {
      rmSync(beside, { force: true });
      const fd = openSync(beside, "wx", 0o600);
      try {
        writeSync(fd, content);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(beside, path);
    } catch (error) {
      throw new StateError(`${path} cannot be written: ${codeOf(error)}`);
    }
  }

  remove(name: string): void {
    rmSync(this.file(name), { force: true });
  }

  /** Gives the directory free for another process. */
  close(): void {
    const lock = this.file("agent.lock");
    if (held.delete(lock)) rmSync(lock, { force: true });
  }

  #lock(): void {
    const lock = this.file("agent.lock");
    const holder = this.read("agent.lock")?.trim();
    if (held.has(lock) || (holder !== undefined && isAlive(holder))) {
      const pid = holder?.split(" ")[0] ?? String(process.pid);
      throw new StateError(
        `state_dir ${this.path} is in use by the agent with process id ${pid}: stop it, or give this one another state_dir`,
      );
    }
    try {
      // Two starting at once over a stale lock: both remove it, one makes it.
      rmSync(lock, { force: true });
      writeFileSync(lock, `${process.pid} ${startOf(process.pid)}\n`, { flag: "wx", mode: 0o600 });
    } catch (error) {
      throw new StateError(`${lock} cannot be made: ${codeOf(error)}`);
    }
    held.add(lock);
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "unknown error";

/** Whether the process that wrote this lock still runs. A process id that went to another process since is not it. */
function isAlive(holder: string): boolean {
  const [pidText = "", start = ""] = holder.split(" ");
  const pid = Number(pidText);
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (codeOf(error) !== "EPERM") return false;
  }
  const now = startOf(pid);
  return now === "" || start === "" || now === start;
}

/** Boot and start time of a process where the system tells (Linux), else empty. */
function startOf(pid: number): string {
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // proc(5): field 22 is starttime; the second field, in parentheses, may hold spaces.
    return `${boot}/${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? ""}`;
  } catch {
    return "";
  }
}
