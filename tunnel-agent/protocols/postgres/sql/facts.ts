/**
 * What has been found out about one statement while its tree is walked. Effects are a set; of the reasons to refuse
 * the first is kept.
 */
import type { ActionName } from "../../../../policy/actions.ts";
import { unreachable } from "../../../../protocol/result.ts";
import type { Sketch } from "./sketch/types.ts";
import type { Builtin, CopyFormat, Effect, PgObject, SessionEffect, Statement } from "./types.ts";

export const TARGET: PgObject = { type: "target" };

const LENIENT = "PG-51";

export class Facts {
  readonly #effects = new Map<string, Effect>();
  readonly #session: SessionEffect[] = [];
  readonly #builtins = new Map<string, Builtin>();
  readonly #fields = new Set<string>();
  #ofFunctions = false;
  #forbidden: Statement["forbidden"];
  #copy: Statement["copy"];
  #copyFormat: CopyFormat | undefined;
  #secrets: "none" | "bodies" | "literals" = "none";

  effect(action: ActionName, object: PgObject = TARGET): void {
    const effect: Effect = { action, object };
    this.#effects.set(effectKey(effect), effect);
  }

  /** A name of pg_catalog's was used. */
  builtin(kind: Builtin["kind"], name: string, qualified: boolean): void {
    this.#builtins.set(`${kind} ${qualified} ${name}`, { kind, name, qualified });
  }

  /** A name after a dot. */
  field(name: string): void {
    this.#fields.add(name);
  }

  /** A function in FROM. */
  functionRow(): void {
    this.#ofFunctions = true;
  }

  session(effect: SessionEffect): void {
    this.#session.push(effect);
  }

  /**
   * Refused whatever policy says. `hazard` is a row of THREATS, or `unknown` for what the tables do not hold. A caller may
   * leave timeouts to policy, since the gateway has timers of its own: so that reason never stands before another.
   */
  forbid(hazard: string, sentence: string): void {
    if (this.#forbidden === undefined || this.#forbidden.hazard === LENIENT) this.#forbidden = { hazard, sentence };
  }

  copy(direction: "in" | "out", format?: CopyFormat): void {
    this.#copy = direction;
    this.#copyFormat = format;
  }

  /** The statement's string literals may be credentials; or only those inside a body of code. */
  secret(where: "bodies" | "literals"): void {
    if (this.#secrets !== "literals") this.#secrets = where;
  }

  get forbidden(): Statement["forbidden"] {
    return this.#forbidden;
  }

  /** Takes over what was found apart, without the session effects that `keep` does not want. */
  merge(other: Facts, keep: (effect: SessionEffect) => boolean = () => true): void {
    for (const [key, effect] of other.#effects) this.#effects.set(key, effect);
    for (const [key, builtin] of other.#builtins) this.#builtins.set(key, builtin);
    for (const name of other.#fields) this.#fields.add(name);
    if (other.#ofFunctions) this.#ofFunctions = true;
    this.#session.push(...other.#session.filter(keep));
    if (other.#forbidden !== undefined) this.forbid(other.#forbidden.hazard, other.#forbidden.sentence);
    if (other.#secrets !== "none") this.secret(other.#secrets);
  }

  get secrets(): "none" | "bodies" | "literals" {
    return this.#secrets;
  }

  statement(node: string, span: Statement["span"], sketch: Sketch): Statement {
    if (this.#effects.size === 0) this.effect("pg:session");
    return {
      node,
      span,
      effects: [...this.#effects.values()],
      session: this.#session,
      copy: this.#copy,
      ...(this.#copyFormat === undefined ? {} : { copyFormat: this.#copyFormat }),
      forbidden: this.#forbidden,
      builtins: [...this.#builtins.values()],
      fields: { names: [...this.#fields], ofFunctions: this.#ofFunctions },
      sketch,
    };
  }
}

/** One string for one effect. */
export function effectKey({ action, object }: Effect): string {
  switch (object.type) {
    case "target":
      return action;
    case "schema":
      return `${action}\0schema\0${object.name}`;
    case "table":
    case "function":
      return `${action}\0${object.type}\0${object.schema ?? ""}\0${object.name}`;
    default:
      return unreachable(object);
  }
}
