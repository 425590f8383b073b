/**
 * The keeper of one target's catalogue, on a connection of the agent's own with the target's login.
 */
import { Socket } from "node:net";
import type { Logger } from "pino";
import { err, ok, type Result } from "../../../../protocol/result.ts";
import type { AnalyseSql } from "../sql/types.ts";
import { serverMajor } from "../lane.ts";
import { reachForAgent, type Reachable } from "../target/reach.ts";
import { createKeeper, type CatalogueKeeper, type Side } from "./keeper.ts";
import { SideConnection } from "./side.ts";

export interface KeptTarget extends Reachable {
  readonly name: string;
}

export function keepCatalogue(target: KeptTarget, analyse: AnalyseSql, log: Logger): CatalogueKeeper {
  return createKeeper({
    connect: () => connectSide(target),
    analyse,
    monotonic: () => performance.now(),
    failed: (why) => log.warn({ target: target.name }, `the target's catalogue could not be loaded: ${why}`),
  });
}

async function connectSide(target: Reachable): Promise<Result<Side, string>> {
  const backend = await reachForAgent(target, "catalogue");
  if ("why" in backend) return err(backend.why);
  // Nobody waits for an idle one when the agent ends.
  if (backend.socket instanceof Socket) backend.socket.unref();
  return ok({ connection: new SideConnection(backend.socket, backend.rest), serverMajor: serverMajor(backend) });
}
