/**
 * Keeps one session's fault from ending the process, and with it all other sessions. Everything that a session
 * starts (its socket, timers, connections to the target) runs in its asynchronous context, so an exception that
 * nobody caught is attributed to it, and it alone is ended. An exception outside of any session is the agent's own:
 * `install` leaves what happens then to the caller.
 */
import { AsyncLocalStorage } from "node:async_hooks";

export interface Faulty {
  /** Called for an error that was thrown inside and caught by nobody. */
  fault(error: unknown): void;
}

const domain = new AsyncLocalStorage<Faulty>();

export const runIn = <T>(session: Faulty, work: () => T): T => domain.run(session, work);

/** Process-wide; returns how to undo it. */
export function install(onOwnFault: (error: unknown) => void): () => void {
  const handle = (error: unknown): void => {
    const session = domain.getStore();
    if (session === undefined) onOwnFault(error);
    else session.fault(error);
  };
  process.on("uncaughtException", handle);
  process.on("unhandledRejection", handle);
  return () => {
    process.off("uncaughtException", handle);
    process.off("unhandledRejection", handle);
  };
}

/** What a log may say of an unexpected error: its class and where it was thrown, not its message, which may hold data. */
export function describeFault(error: unknown): { readonly error: string; readonly at?: string } {
  if (!(error instanceof Error)) return { error: typeof error };
  const at = /\n\s+at ([^\n]*)/.exec(error.stack ?? "")?.[1];
  const code = "code" in error && typeof error.code === "string" ? ` ${error.code}` : "";
  return { error: `${error.name}${code}`, ...(at === undefined ? {} : { at }) };
}
