/**
 * Where a client's message has to go when two logins serve it: a text where `route` says, a name where it was made.
 * Both lanes have namespaces of their own, and the client has one: a name that the other lane holds is taken.
 */
import { unreachable } from "../../../../../protocol/result.ts";
import { decodeFrontend, type FrontendMessage } from "../../codec/frontend.ts";
import { SQLSTATE, type Refusal } from "../../refusal.ts";
import type { KnownSql } from "../authorise.ts";
import type { SplitActions } from "./split.ts";

export type LaneName = "low" | "high";

/** `high as it is`: in the high lane, whatever the low one has done meanwhile. `unknown`: the catalogue must be loaded anew first. */
export type Route = LaneName | "high as it is" | "unknown";

export interface TextFacts {
  /** Only reads and BEGIN: a Sync may part it from what follows. */
  readonly harmless: boolean;
  /** Forgets all prepared statements. */
  readonly forgets: boolean;
}

/** How a message would be refused and recorded; null: it is nothing to record. */
interface Refusable {
  readonly via: "simple" | "parse" | "extended" | null;
  readonly sql: string | KnownSql;
}

export type Destination = Refusable &
  (
    | { readonly kind: "lane"; readonly lane: LaneName; readonly message: FrontendMessage | null; readonly asItIs: boolean }
    | { readonly kind: "unknown"; readonly message: FrontendMessage }
    | { readonly kind: "refusal"; readonly refusal: Refusal }
  );

export const refusedMixture: Refusal = {
  code: SQLSTATE.feature_not_supported,
  message:
    "sallyport: a statement that reads classified columns runs as another login, so it cannot share a pipeline's transaction with what came before it",
  hint: "End the pipeline (Sync) before it, or begin a transaction.",
};

const taken = (what: "prepared statement" | "portal", name: string): Refusal => ({
  code: what === "portal" ? SQLSTATE.duplicate_cursor : SQLSTATE.duplicate_prepared_statement,
  message: what === "portal" ? `cursor "${name}" already exists` : `prepared statement "${name}" already exists`,
});

const other = (lane: LaneName): LaneName => (lane === "low" ? "high" : "low");

type Space = "statements" | "portals";

export class Destinations {
  readonly #does: SplitActions;
  /** Statements of the low lane that only read. */
  readonly #harmless = new Set<string>();
  /** Nothing but reads and BEGIN came in the present part of a pipeline. */
  mayPart = true;

  constructor(does: SplitActions) {
    this.#does = does;
  }

  here(lane: LaneName): Extract<Destination, { kind: "lane" }> {
    return { kind: "lane", lane, message: null, asItIs: false, via: null, sql: "" };
  }

  of(type: number, body: Buffer, current: LaneName): Destination {
    const decoded = decodeFrontend(type, body);
    // The machine says what is wrong with it.
    if (!decoded.ok) return this.here(current);
    const message = decoded.value;
    switch (message.type) {
      case "Query":
        return this.#text(message, "simple", message.sql);
      case "Parse":
        return this.#text(message, "parse", message.sql);
      case "Bind":
        return this.#named(message, "statements", message.statement);
      case "Describe":
      case "Close":
        return this.#named(message, message.space === "S" ? "statements" : "portals", message.name);
      case "Execute":
        return this.#named(message, "portals", message.portal);
      case "Terminate":
        return { ...this.here("low"), message };
      case "Sync":
      case "Flush":
      case "CopyDone":
      case "CopyFail":
      case "Password":
        return this.here(current);
      default:
        return unreachable(message);
    }
  }

  /** Once more, with the catalogue loaded anew: what is unknown still is for the low login, whose server knows. */
  settle(destination: Destination): Destination {
    if (destination.kind !== "unknown" || typeof destination.sql !== "string") return destination;
    const { message, via, sql } = destination;
    const route = this.#does.route(sql);
    return this.#place(message, via, sql, route === "unknown" ? "low" : route);
  }

  #has(lane: LaneName, space: Space, name: string): boolean {
    return this.#does.machine(lane)?.names[space].has(name) === true;
  }

  #text(message: FrontendMessage, via: "simple" | "parse", sql: string): Destination {
    // An aborted transaction takes nothing but its end, and says so itself.
    const route = this.#does.machine("low")?.status === "E" ? "low" : this.#does.route(sql);
    return route === "unknown" ? { kind: "unknown", message, via, sql } : this.#place(message, via, sql, route);
  }

  #place(message: FrontendMessage, via: Destination["via"], sql: string, route: Exclude<Route, "unknown">): Destination {
    const lane = route === "low" ? "low" : "high";
    if (message.type === "Parse" && message.statement !== "" && this.#has(other(lane), "statements", message.statement)) {
      return { kind: "refusal", refusal: taken("prepared statement", message.statement), via, sql };
    }
    return { kind: "lane", lane, message, asItIs: route === "high as it is", via, sql };
  }

  #named(message: FrontendMessage, space: Space, name: string): Destination {
    const lane = this.#has("high", space, name) ? "high" : "low";
    const names = this.#does.machine(lane)?.names;
    const known = space === "statements" ? names?.statements.get(name)?.known : names?.portals.get(name)?.statement.known;
    const sql = known ?? "";
    if (message.type === "Bind" && message.portal !== "" && this.#has(other(lane), "portals", message.portal)) {
      return { kind: "refusal", refusal: taken("portal", message.portal), via: "extended", sql };
    }
    const asItIs = message.type === "Close" || message.type === "Describe";
    return { kind: "lane", lane, message, asItIs, via: "extended", sql };
  }

  /**
   * A message goes to a lane: what that does to the names of the other, and to what a Sync of ours would end. True when
   * it makes the backend forget its prepared statements.
   */
  delivered(destination: Destination, lane: LaneName): boolean {
    if (destination.kind !== "lane" || destination.message === null) return false;
    const { message } = destination;
    const names = this.#does.machine(other(lane))?.names;
    if (this.#does.machine("low")?.amid === false) this.mayPart = true;
    switch (message.type) {
      case "Query":
        names?.dropUnnamed();
        return lane === "low" && this.#does.facts(message.sql).forgets;
      case "Parse": {
        if (message.statement === "") names?.statements.delete("");
        if (lane === "high") return false;
        const { harmless, forgets } = this.#does.facts(message.sql);
        // The Parse of a name that exists will fail.
        if (message.statement !== "" && this.#has("low", "statements", message.statement)) return false;
        if (harmless) this.#harmless.add(message.statement);
        else this.#harmless.delete(message.statement);
        return forgets;
      }
      case "Bind":
        if (message.portal === "") names?.portals.delete("");
        if (lane === "low" && !this.#harmless.has(message.statement)) this.mayPart = false;
        return false;
      case "Close":
        if (message.space === "S") this.#harmless.delete(message.name);
        return false;
      case "Execute":
      case "Describe":
      case "Terminate":
      case "Sync":
      case "Flush":
      case "CopyDone":
      case "CopyFail":
      case "Password":
        return false;
      default:
        return unreachable(message);
    }
  }
}
