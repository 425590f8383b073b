/**
 * The shell around ClientStartup: reads the client's first bytes until it is let in, asks for a cancel, or is refused,
 * within the handshake's deadline. Leaves the client paused.
 */
import type { Duplex } from "node:stream";
import { writeFields } from "../codec/backend.ts";
import { single } from "../codec/writer.ts";
import { refusalFields, SQLSTATE, type Refusal } from "../refusal.ts";
import type { ClientStartup, StartupEvent } from "./startup.ts";

/** From the first byte to AuthenticationOk (PG-02), ms. */
export const HANDSHAKE_MS = 10_000;

export type Admission =
  | Extract<StartupEvent, { type: "ready" | "cancel" }>
  | { readonly type: "refused"; readonly refusal: Refusal | undefined };

export const fatalBytes = (refusal: Refusal): Buffer =>
  single((writer) => writeFields(writer, "ErrorResponse", refusalFields("FATAL", refusal)));

const tooSlow: Refusal = { code: SQLSTATE.query_canceled, message: "sallyport: canceling authentication due to timeout" };

/** What was to be said to a refused client has been written when this resolves. `signal` ends the attempt with its own words. */
export function admit(client: Duplex, startup: ClientStartup, signal: AbortSignal, killed: () => Refusal): Promise<Admission> {
  return new Promise((resolve) => {
    const finish = (admission: Admission): void => {
      clearTimeout(timer);
      client.removeListener("data", onData).removeListener("end", onEnd).removeListener("close", onEnd);
      signal.removeEventListener("abort", onAbort);
      client.pause();
      resolve(admission);
    };
    const refuse = (refusal: Refusal): void => {
      client.write(fatalBytes(refusal));
      finish({ type: "refused", refusal });
    };
    const onData = (bytes: Buffer): void => {
      for (const event of startup.receive(bytes)) {
        if (event.type === "send") client.write(event.bytes);
        else if (event.type === "end") finish({ type: "refused", refusal: event.refusal });
        else finish(event);
      }
    };
    const onEnd = (): void => finish({ type: "refused", refusal: undefined });
    const onAbort = (): void => refuse(killed());
    const timer = setTimeout(() => refuse(tooSlow), HANDSHAKE_MS);
    client.on("end", onEnd).on("close", onEnd);
    if (signal.aborted) return onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    client.on("data", onData);
  });
}
