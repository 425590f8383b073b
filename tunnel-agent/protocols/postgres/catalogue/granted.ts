/**
 * The catalogue as one session has it: the keeper's current one; and, in the turn in which a statement that waited for a load is
 * decided, the one that was loaded for it. Other sessions may have changed something meanwhile, so that the keeper has none:
 * but what was done before the statement came is in it, and what comes after may as well come after the statement.
 *
 * Without it a session would not get on while others make definitions without pause.
 */
import type { MaskingRules } from "../../../../policy/types.ts";
import type { CatalogueKeeper } from "./keeper.ts";
import type { Catalogue } from "./types.ts";

export class GrantedCatalogue {
  readonly #keeper: Pick<CatalogueKeeper, "current" | "refresh" | "confirm">;
  #granted: { readonly rules: MaskingRules; readonly catalogue: Catalogue } | null = null;

  constructor(keeper: Pick<CatalogueKeeper, "current" | "refresh" | "confirm">) {
    this.#keeper = keeper;
  }

  current(rules: MaskingRules): Catalogue | undefined {
    const current = this.#keeper.current(rules);
    return current ?? (this.#granted?.rules === rules ? this.#granted.catalogue : undefined);
  }

  /** What went wrong is in the agent's log; who asks `current()` then sees that there is none. */
  async load(need: "load" | "confirm", rules: MaskingRules): Promise<void> {
    if (need === "confirm") await this.#keeper.confirm(rules);
    if (need === "confirm" && this.#keeper.current(rules) !== undefined) return;
    const loaded = await this.#keeper.refresh(rules);
    if (!loaded.ok) return;
    const granted = { rules, catalogue: loaded.value };
    this.#granted = granted;
    // The waiting turn comes first: it continues this very promise.
    setImmediate(() => {
      if (this.#granted === granted) this.#granted = null;
    });
  }
}
