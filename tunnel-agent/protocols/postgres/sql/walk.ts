/**
 * The walk over a statement's tree. It visits every node of every field, so nothing that a statement contains is
 * missed because a rule forgot to look; what a node means is its handler's business. A node kind without a handler,
 * or an object in a place that the grammar does not have, makes the statement forbidden: deny by default.
 */
import type { Facts } from "./facts.ts";
import { concreteKind, unwrap, type Fields } from "./tree.ts";

/**
 * Names of WITH queries that are visible here, innermost first: those whose place in their list is below `visible`. So
 * that a query sees the ones before it, and looking one up costs the same however many there are.
 */
export interface Scope {
  readonly places: ReadonlyMap<string, number>;
  readonly visible: number;
  readonly outer: Scope | null;
}

/** What a node means. `"children"`: nothing of itself. `"leaf"`: nothing, and no node below it can matter. */
export type Handler = "children" | "leaf" | ((fields: Fields, walk: Walk) => void);
export type NodeTable = ReadonlyMap<string, Handler>;

export interface WalkContext {
  readonly nodes: NodeTable;
  readonly facts: Facts;
  /** The target's major version, where it is known. */
  readonly serverMajor: number | undefined;
}

export class Walk {
  readonly facts: Facts;
  readonly scope: Scope | null;
  readonly serverMajor: number | undefined;
  readonly #context: WalkContext;

  constructor(context: WalkContext, scope: Scope | null = null) {
    this.#context = context;
    this.facts = context.facts;
    this.serverMajor = context.serverMajor;
    this.scope = scope;
  }

  /** The same walk with the first `visible` names of a WITH list visible too. */
  within(places: ReadonlyMap<string, number>, visible: number): Walk {
    return new Walk(this.#context, { places, visible, outer: this.scope });
  }

  /** The same walk, adding to other facts. */
  into(facts: Facts): Walk {
    return new Walk({ ...this.#context, facts }, this.scope);
  }

  isCommonTable(name: string): boolean {
    for (let scope = this.scope; scope !== null; scope = scope.outer) {
      if ((scope.places.get(name) ?? Number.POSITIVE_INFINITY) < scope.visible) return true;
    }
    return false;
  }

  /** A wrapped node, or a list of them. Null, undefined and the empty object (a NULL in a list) are nothing. */
  visit(value: unknown): void {
    if (Array.isArray(value)) {
      for (const item of value) this.visit(item);
      return;
    }
    if (typeof value !== "object" || value === null) return;
    const node = unwrap(value);
    if (node === undefined) {
      if (Object.keys(value).length > 0) this.#unknown("an unnamed node");
      return;
    }
    this.node(node[0], node[1]);
  }

  /** A node whose kind is known from its place. */
  node(kind: string, fields: Fields): void {
    const handler = this.#context.nodes.get(kind);
    if (handler === undefined) this.#unknown(kind);
    else if (handler === "children") this.children(kind, fields);
    else if (handler !== "leaf") handler(fields, this);
  }

  /** Every field of a node but those named. */
  children(kind: string, fields: Fields, ...except: readonly string[]): void {
    for (const field in fields) {
      const value = fields[field];
      if (typeof value !== "object" || value === null || except.includes(field)) continue;
      if (Array.isArray(value)) {
        for (const item of value) this.visit(item);
        continue;
      }
      const concrete = concreteKind(kind, field);
      if (concrete !== undefined) this.node(concrete, value as Fields);
      else this.visit(value);
    }
  }

  #unknown(what: string): void {
    this.facts.forbid("unknown", `The gateway does not know what ${what} in this statement does.`);
  }
}
