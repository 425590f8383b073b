/**
 * Asks a target to cancel what one of its backends is running: a connection of its own, one packet, no answer
 * (manual section 55.2.8). The server closes it once the signal is sent, so waiting for that close keeps a cancel
 * from hitting the statement after the one it was meant for.
 */
import type { Result } from "../../../../protocol/result.ts";
import { writeCancelRequest } from "../codec/startup.ts";
import { single } from "../codec/writer.ts";
import { connectTarget, type ConnectOptions } from "./connect.ts";

const CANCEL_MS = 5_000;

/** Resolves when the target has taken the request, or with a sentence why it has not within 5 s. */
export async function cancelAtTarget(
  connect: Omit<ConnectOptions, "signal">,
  backend: { readonly pid: number; readonly key: Uint8Array },
): Promise<Result<true, string>> {
  const signal = AbortSignal.timeout(CANCEL_MS);
  const socket = await connectTarget({ ...connect, signal });
  if (!socket.ok) return socket;
  return await new Promise((resolve) => {
    const finish = (result: Result<true, string>): void => {
      socket.value.destroy();
      resolve(result);
    };
    signal.addEventListener("abort", () => finish({ ok: false, error: "the target did not take the cancel request in time" }), {
      once: true,
    });
    socket.value.on("error", (error) => finish({ ok: false, error: `cancel request: ${error.message}` }));
    socket.value.on("close", () => finish({ ok: true, value: true }));
    socket.value.on("data", () => undefined);
    socket.value.write(single((writer) => writeCancelRequest(writer, backend.pid, backend.key)));
  });
}
