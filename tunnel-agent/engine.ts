/**
 * The V8 flags that an agent's process runs with. V8 compiles hot WebAssembly a second time with its optimising compiler, and one
 * function of PostgreSQL's grammar makes that take some 600 MB for a second. Parsing with the baseline code alone is
 * slower by some tens of µs a new statement at most (bench/parser.ts; docs/decisions/0004).
 *
 * V8 reads such flags only when a process starts, so the process starts itself anew, in place: same pid, same
 * descriptors. Where Node cannot (before 22.15, Windows) it goes on as it is, with the peak.
 */
export const V8_FLAGS = ["--liftoff-only"] as const;

/** Does not return where the process was replaced. */
export function restartWithFlags(): void {
  if (V8_FLAGS.every((flag) => process.execArgv.includes(flag))) return;
  if (!("execve" in process) || typeof process.execve !== "function") return;
  const args = [process.execPath, ...process.execArgv, ...V8_FLAGS, ...process.argv.slice(1)];
  try {
    (process.execve as (file: string, args: readonly string[], env: NodeJS.ProcessEnv) => void)(process.execPath, args, process.env);
  } catch {
    // Not on this platform.
  }
}
