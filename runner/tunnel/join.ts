/**
 * A client's connection and its stream, joined: bytes and half-closes pass both ways, and a failure of either ends the
 * other. Nothing is buffered beyond the two's own windows.
 */
import type { Duplex } from "node:stream";

/** Resolves when both are closed. Neither needs another error listener. */
export function joinDuplexes(client: Duplex, stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    let open = 2;
    const closed = (): void => {
      open -= 1;
      if (open === 0) resolve();
    };
    const bind = (one: Duplex, other: Duplex): void => {
      // What it said before it failed is still on its way to the other, which then ends by itself.
      one.on("error", () => {
        if (!one.readableEnded) other.destroy();
      });
      one.on("close", () => {
        if (!one.readableEnded) other.destroy();
        // Nobody takes what the other still says: read on, to notice when it is done.
        else if (!other.readableEnded) other.resume();
        closed();
      });
      if (one.destroyed) {
        other.destroy();
        if (one.closed) closed();
      }
    };
    bind(client, stream);
    bind(stream, client);
    pump(client, stream);
    pump(stream, client);
  });
}

/**
 * As `pipe()` does, which is not used: it looks at `process.stdout`, whereupon Node makes descriptor 1 non-blocking — the one that
 * the user's command shares with us, whose writes then fail with EAGAIN.
 */
function pump(from: Duplex, to: Duplex): void {
  from.on("data", (chunk: Uint8Array) => {
    if (!to.destroyed && !to.write(chunk)) from.pause();
  });
  to.on("drain", () => from.resume());
  from.on("end", () => to.end());
}
