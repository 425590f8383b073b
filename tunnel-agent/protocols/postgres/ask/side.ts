/** A connection of the agent's own for one question: the agent's fixed statements, with the ordinary login, then closed. */
import { AskRefused } from "../../../session.ts";
import { SideConnection } from "../catalogue/side.ts";
import { reachForAgent, type Reachable } from "../target/reach.ts";
import type { RunQuery } from "./posture-facts.ts";

/**
 * Gives `work` a connection, and closes it. @throws AskRefused when the target cannot be reached; what `work` throws.
 * `log` hears why it could not be reached.
 */
export async function withSideConnection<T>(
  target: Reachable,
  signal: AbortSignal,
  log: (reason: string) => void,
  work: (run: RunQuery) => Promise<T>,
): Promise<T> {
  const backend = await reachForAgent(target, "posture");
  if ("why" in backend) {
    log(backend.why);
    throw new AskRefused("target_unreachable", "The agent could not reach the target, or was not accepted by it.");
  }
  const side = new SideConnection(backend.socket, backend.rest);
  const stop = (): void => side.close();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  try {
    return await work(async (sql, parameters = []) => {
      const answer = await side.ask(sql, parameters);
      if (!answer.ok) throw new Error(`a question to the target failed: ${answer.error}`);
      return answer.value;
    });
  } finally {
    signal.removeEventListener("abort", stop);
    side.close();
  }
}
