/**
 * Keeps one target's catalogue: loads it when it is first asked for, again on a timer, and whenever it is told that
 * something changed or is missing. One load runs at a time; whoever asks for a newer one than is being loaded shares the
 * next. The connection for it stays open for a while and is closed when idle.
 *
 * Guarantees: `current()` never answers with a catalogue that is known to be out of date, or too old, or of other rules;
 * a failed load leaves none in such a case, and then statements are refused.
 */
import {
  CATALOGUE_CONFIRM_MS,
  CATALOGUE_IDLE_MS,
  CATALOGUE_LOAD_MS,
  CATALOGUE_REFRESH_MS,
  CATALOGUE_STALE_MS,
} from "../../../../protocol/limits.ts";
import { err, ok, type Result } from "../../../../protocol/result.ts";
import type { MaskingRules } from "../../../../policy/types.ts";
import type { AnalyseSql, Effect } from "../sql/types.ts";
import { createCatalogue } from "./create.ts";
import { definitionsOf, type Definition } from "./definitions.ts";
import { load, PREPARE_SIDE } from "./load.ts";
import { DEFINITIONS_STAMP } from "./queries.ts";
import type { Answer, SideConnection } from "./side.ts";
import type { Catalogue, Classified } from "./types.ts";

export interface Side {
  readonly connection: SideConnection;
  readonly serverMajor: number | undefined;
}

export interface KeeperOptions {
  /** Connects and logs in; the error is for the log. */
  readonly connect: () => Promise<Result<Side, string>>;
  readonly analyse: AnalyseSql;
  /** Monotonic ms. */
  readonly monotonic: () => number;
  /** A load failed; the sentence holds no secret. */
  readonly failed: (why: string) => void;
}

export interface CatalogueKeeper {
  /** Undefined: `refresh` first. Of the target's rules (`rulesFor`). */
  current(rules: MaskingRules): Catalogue | undefined;
  /** A catalogue of a load that began after this call. The error is a sentence for the agent's log. */
  refresh(rules: MaskingRules): Promise<Result<Catalogue, string>>;
  /** Sees whether definitions are what they were when the catalogue was loaded, and loads it anew if they are not. */
  confirm(rules: MaskingRules): Promise<void>;
  /** Something of the target's definitions has changed. */
  invalidate(): void;
  /** What now stands behind the names of these effects, as digests (PG-48). */
  definitions(effects: readonly Effect[], searchPath: readonly string[]): Promise<Result<readonly Definition[], string>>;
  /** A question of the agent's own: fixed text, values as parameters. */
  ask(sql: string, parameters?: readonly (string | null)[]): Promise<Answer>;
  close(): void;
}

interface Kept {
  readonly catalogue: Catalogue;
  readonly rules: string;
  readonly loadedAt: number;
  /** What DEFINITIONS_STAMP said before it was loaded. */
  readonly stamp: string;
}

/** Loads in a row that definitions may outrun. */
const MAX_LOADS = 20;

export function createKeeper(options: KeeperOptions): CatalogueKeeper {
  return new Keeper(options);
}

class Keeper implements CatalogueKeeper {
  readonly #options: KeeperOptions;
  #kept: Kept | null = null;
  #version = 0;
  /** Counts changes: a load that began before the last one is out of date when it arrives. */
  #changes = 0;
  #remembered: ReadonlyMap<string, Classified> = new Map();
  #rememberedFor = "";
  #running: Promise<unknown> = Promise.resolve();
  #next: { readonly rules: string; readonly result: Promise<Result<Catalogue, string>> } | null = null;
  #side: Promise<Result<Side, string>> | null = null;
  #idle: ReturnType<typeof setTimeout> | undefined;
  #users = 0;
  #printed: { readonly rules: MaskingRules; readonly text: string } | null = null;
  #closed = false;
  #confirmedAt = 0;
  #nextConfirm: Promise<void> | null = null;
  #lastConfirm: Promise<void> = Promise.resolve();

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  current(rules: MaskingRules): Catalogue | undefined {
    const kept = this.#kept;
    if (kept === null || kept.rules !== this.#print(rules)) return undefined;
    const age = this.#options.monotonic() - kept.loadedAt;
    if (age > CATALOGUE_STALE_MS) return undefined;
    if (age > CATALOGUE_REFRESH_MS) void this.refresh(rules);
    else if (this.#options.monotonic() - this.#confirmedAt > CATALOGUE_CONFIRM_MS) void this.confirm(rules);
    return kept.catalogue;
  }

  confirm(rules: MaskingRules): Promise<void> {
    // One that has not begun looks after this call, so it can be shared.
    if (this.#nextConfirm !== null) return this.#nextConfirm;
    const next = this.#lastConfirm.then(() => {
      this.#nextConfirm = null;
      return this.#confirm(rules);
    });
    this.#nextConfirm = next;
    this.#lastConfirm = next;
    return next;
  }

  async #confirm(rules: MaskingRules): Promise<void> {
    this.#confirmedAt = this.#options.monotonic();
    const kept = this.#kept;
    const stamp = kept === null ? null : await this.#use(({ connection }) => stampOf(connection));
    if (kept !== null && stamp?.ok === true && stamp.value === kept.stamp) return;
    if (this.#kept === kept) this.#kept = null;
    await this.refresh(rules);
  }

  refresh(rules: MaskingRules): Promise<Result<Catalogue, string>> {
    const text = this.#print(rules);
    // What waits for the running load has not begun: it can be shared.
    if (this.#next?.rules === text) return this.#next.result;
    const result = this.#running.then(() => {
      if (this.#next?.result === result) this.#next = null;
      return this.#loadUntilCurrent(rules, text);
    });
    this.#next = { rules: text, result };
    this.#running = result;
    return result;
  }

  invalidate(): void {
    this.#changes += 1;
    this.#kept = null;
  }

  async definitions(effects: readonly Effect[], searchPath: readonly string[]): Promise<Result<readonly Definition[], string>> {
    return await definitionsOf(effects, searchPath, (sql, parameters) => this.ask(sql, parameters));
  }

  async ask(sql: string, parameters: readonly (string | null)[] = []): Promise<Answer> {
    return await this.#use(({ connection }) => connection.ask(sql, parameters));
  }

  close(): void {
    this.#closed = true;
    this.#hangUp();
  }

  /** Rules are a new object with every bundle, and the same for every session of one. */
  #print(rules: MaskingRules): string {
    if (this.#printed?.rules !== rules) this.#printed = { rules, text: JSON.stringify(rules) };
    return this.#printed.text;
  }

  /**
   * Definitions that changed during a load make it out of date for whoever asks next: with many clients that define things
   * there is no end of that, so the load that nobody disturbed, or the last of some, is the answer.
   */
  async #loadUntilCurrent(rules: MaskingRules, text: string): Promise<Result<Catalogue, string>> {
    for (let tries = 1; ; tries += 1) {
      const loaded = await this.#load(rules, text);
      if (!loaded.ok || tries === MAX_LOADS || this.#kept?.catalogue === loaded.value) return loaded;
    }
  }

  async #load(rules: MaskingRules, text: string): Promise<Result<Catalogue, string>> {
    const changes = this.#changes;
    const loadedAt = this.#options.monotonic();
    // Other rules, other classes: what the old ones called a column does not count any more.
    if (this.#rememberedFor !== text) this.#remembered = new Map();
    const remembered = this.#remembered;
    const loaded = await this.#use(async ({ connection, serverMajor }) => {
      const stamp = await stampOf(connection);
      if (!stamp.ok) return stamp;
      const all = await load({ side: connection, analyse: this.#options.analyse, serverMajor, rules, remembered });
      return all.ok ? ok({ ...all.value, stamp: stamp.value }) : all;
    });
    this.#confirmedAt = loadedAt;
    if (!loaded.ok) {
      this.#options.failed(loaded.error);
      return loaded;
    }
    this.#version += 1;
    const catalogue = createCatalogue({
      raw: loaded.value.raw,
      definitions: loaded.value.definitions,
      version: this.#version,
      rules,
      remembered,
    });
    this.#remembered = catalogue.remember;
    this.#rememberedFor = text;
    if (changes === this.#changes) this.#kept = { catalogue, rules: text, loadedAt, stamp: loaded.value.stamp };
    return ok(catalogue);
  }

  async #use<T>(turn: (side: Side) => Promise<Result<T, string>>): Promise<Result<T, string>> {
    if (this.#closed) return err("the target is not served any more");
    clearTimeout(this.#idle);
    this.#users += 1;
    try {
      const side = await this.#connected();
      if (!side.ok) return side;
      return await within(CATALOGUE_LOAD_MS, turn(side.value), () => this.#hangUp());
    } finally {
      this.#users -= 1;
      if (this.#users === 0) {
        this.#idle = setTimeout(() => this.#hangUp(), CATALOGUE_IDLE_MS);
        this.#idle.unref();
      }
    }
  }

  async #connected(): Promise<Result<Side, string>> {
    const before = await this.#side;
    if (before !== null && before.ok && before.value.connection.usable) return before;
    this.#side = this.#connect();
    return await this.#side;
  }

  async #connect(): Promise<Result<Side, string>> {
    const side = await this.#options.connect();
    if (!side.ok) return side;
    const prepared = await side.value.connection.ask(PREPARE_SIDE);
    return prepared.ok ? side : prepared;
  }

  #hangUp(): void {
    clearTimeout(this.#idle);
    const side = this.#side;
    this.#side = null;
    void closeWhenConnected(side);
  }
}

async function closeWhenConnected(side: Promise<Result<Side, string>> | null): Promise<void> {
  const connected = await side;
  if (connected?.ok === true) connected.value.connection.close();
}

async function stampOf(connection: SideConnection): Promise<Result<string, string>> {
  const answer = await connection.ask(DEFINITIONS_STAMP);
  return answer.ok ? ok(answer.value[0]?.[0] ?? "") : answer;
}

/** A target that does not answer is given up, and its connection with it. */
async function within<T>(ms: number, work: Promise<Result<T, string>>, giveUp: () => void): Promise<Result<T, string>> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<Result<T, string>>((resolve) => {
    timer = setTimeout(() => {
      giveUp();
      resolve(err(`the target did not answer within ${ms} ms`));
    }, ms);
    timer.unref();
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
