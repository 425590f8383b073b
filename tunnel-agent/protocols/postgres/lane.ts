/**
 * One backend's part in serving a client: its session machine and its relay, joined. A client has one, or two where the
 * target has a login of its own for classified columns (split-relay.ts).
 */
import { randomBytes } from "node:crypto";
import type { SessionContext } from "../../session.ts";
import type { AnalysisCache } from "./analysis.ts";
import { GrantedCatalogue } from "./catalogue/granted.ts";
import type { CatalogueKeeper } from "./catalogue/keeper.ts";
import type { PostgresTargetConfig } from "./config.ts";
import { holdSources } from "./hold-sources.ts";
import type { Unprovable } from "./masking/plan.ts";
import { Relay, type ClientEnd } from "./relay.ts";
import { SessionMachine } from "./session/machine.ts";
import type { MaskingOptions } from "./session/masking.ts";
import type { LaneOptions } from "./session/types.ts";
import { cancelAtTarget } from "./target/cancel.ts";
import type { LoggedIn } from "./target/login.ts";
import type { Backend, Reachable } from "./target/reach.ts";

/** What a lane needs of its target. */
export interface LaneTarget extends Reachable {
  readonly name: string;
  readonly analysis: AnalysisCache;
  readonly catalogue: CatalogueKeeper;
}

export interface LaneInput {
  readonly target: LaneTarget;
  /** The login that `backend` is of. */
  readonly reach: Reachable;
  readonly client: ClientEnd;
  readonly stream: number;
  readonly session: SessionContext;
  readonly backend: Backend;
  readonly lane?: LaneOptions;
  readonly turned?: () => void;
  /** What is done where nothing can be proven; absent: as agent.yaml says. */
  readonly unprovable?: MaskingOptions["unprovable"];
}

/** A machine, its relay, and what its target said before they were there. */
export interface Lane {
  readonly relay: Relay;
  readonly machine: SessionMachine;
  readonly rest: Buffer;
}

/** `18` of `18.4 (Debian …)`; undefined for what does not look like a version. */
export function serverMajor({ status }: LoggedIn): number | undefined {
  const match = /^[0-9]{1,3}/.exec(status.get("server_version") ?? "");
  return match === null ? undefined : Number(match[0]);
}

/** A name that no client can guess. */
export const ownName = (purpose: string): string => `sallyport ${purpose} ${randomBytes(12).toString("hex")}`;

/** As agent.yaml says: guarantee B or C. */
export const unprovableBy = ({ masking }: Pick<PostgresTargetConfig, "masking">): Unprovable => (masking === "strict" ? "refuse" : "mask");

export function makeLane({ target, reach, client, stream, session, backend, lane, turned, unprovable }: LaneInput): Lane {
  const { config } = target;
  const major = serverMajor(backend);
  const granted = new GrantedCatalogue(target.catalogue);
  const machine = new SessionMachine({
    session,
    streamId: stream,
    target: target.name,
    user: config.user,
    searchPath: config.search_path,
    database: config.database,
    limits: config.limits,
    recordResults: config.record_results,
    masking: {
      source: { current: (rules) => granted.current(rules), changed: () => target.catalogue.invalidate() },
      unprovable: unprovable ?? (() => unprovableBy(config)),
    },
    analyse: (sql) => target.analysis.analyse(sql, major),
    poison: ownName("refused"),
    lane,
  });
  const cancel = async (): Promise<void> => {
    const done = await cancelAtTarget(reach.connect, backend);
    if (!done.ok) session.log.warn({ stream }, done.error);
  };
  const relay = new Relay({
    client,
    target: backend.socket,
    machine,
    monotonic: () => session.monotonic(),
    cancel,
    session,
    holdSources: holdSources(target),
    loadCatalogue: (need) => granted.load(need, session.masking()),
    failed: (error) => session.log.error({ stream, err: error }, "fault in the session machine"),
    ...(turned === undefined ? {} : { turned }),
  });
  return { relay, machine, rest: backend.rest };
}
