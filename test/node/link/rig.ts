/** A connector and an agent on the coupler, with retries that do not make a test wait. */
import { connectSession, type ConnectorSession } from "../../../link/connector.ts";
import { serveSession, type AgentLink } from "../../../link/agent.ts";
import { openWebSocket } from "../../../link/dial.ts";
import type { LinkTiming } from "../../../link/backoff.ts";
import type { LinkLog, LinkState, LinkStream } from "../../../link/types.ts";
import type { StreamMeta } from "../../../protocol/stream/control.ts";
import { Coupler } from "./coupler.ts";

export const quiet: LinkLog = { debug: () => {}, info: () => {}, warn: () => {} };
export const META: StreamMeta = { kind: "tcp", auth: { method: "trust" } };
export const READY = { target: "orders-db", protocol: "postgres", database: "shop", user: "ci" };
export const FAST: Partial<LinkTiming> = { firstMs: 2, baseMs: 10, maxMs: 40, stableMs: 0 };

export interface Rig {
  readonly coupler: Coupler;
  readonly session: ConnectorSession;
  readonly agent: AgentLink;
  readonly states: LinkState[];
  close(): Promise<void>;
}

export async function rig(
  onStream: (stream: LinkStream) => void,
  timing: { connector?: Partial<LinkTiming>; agent?: Partial<LinkTiming> } = {},
): Promise<Rig> {
  const coupler = new Coupler();
  await coupler.listen();
  const states: LinkState[] = [];
  const agent = serveSession({
    dial: () => Promise.resolve(openWebSocket(`${coupler.origin}/v1/sessions/${coupler.session}/agent`, {})),
    ready: READY,
    onStream,
    log: quiet,
    timing: { ...FAST, ...timing.agent },
  });
  const connected = await connectSession({
    url: `${coupler.origin}/v1/targets/orders-db/connect`,
    headers: () => Promise.resolve({ authorization: "Bearer t" }),
    resumeUrl: (id) => `${coupler.origin}/v1/sessions/${id}/resume`,
    log: quiet,
    onState: (state) => states.push(state),
    timing: { ...FAST, ...timing.connector },
  });
  if (!connected.ok) throw new Error(connected.error.message);
  const session = connected.value;
  return {
    coupler,
    session,
    agent,
    states,
    close: async () => {
      await session.close();
      await agent.end({ code: "session_closed", message: "test over" });
      await coupler.close();
    },
  };
}
