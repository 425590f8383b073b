/** Waiting to be told to end. */

/**
 * Resolves at the first SIGINT or SIGTERM. Listeners of others are removed: Miniflare's end the process at once, before
 * sessions are ended, recordings sealed and child processes stopped.
 */
export function untilToldToEnd(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.removeAllListeners(signal);
      process.once(signal, () => resolve());
    }
  });
}
