/**
 * A simulated world around the session's machine: a runner, an agent, a network that cuts in every way, a SiteDO that
 * carries dispatches, and the native coupling, which the object can neither see nor end but by ending its own
 * instance. Virtual time, one seed: a failure is repeated by its seed. It models what link/ promises: one socket at a
 * time, the old one dropped before a new one is dialled, redials with jitter, silence noticed after LOST_AFTER_MS.
 */
import { nextAlarm, step } from "../../../durable-objects/session/machine.ts";
import {
  newRecord,
  NOBODY,
  type Presence,
  type SessionEffect,
  type SessionEvent,
  type SessionRecord,
} from "../../../durable-objects/session/record.ts";
import { LOST_AFTER_MS } from "../../../protocol/limits.ts";

type Side = "runner" | "agent";
const SIDES: readonly Side[] = ["runner", "agent"];
const other = (side: Side): Side => (side === "runner" ? "agent" : "runner");

/** One end of a coupling, as its owner sees it. */
interface End {
  open: boolean;
}
type CoupledPair = Record<Side, End>;

interface Actor {
  /** The end it speaks on; null: it is dialling or waiting to. */
  socket: { pair: CoupledPair } | null;
  /** Names its current attempt; answers to older ones are hung up on. */
  attempt: number;
}

export class ResumeWorld {
  now = 0;
  joins = 0;
  drops = 0;
  record: SessionRecord;
  #presence: Presence = NOBODY;
  #seed: number;
  #queue: { at: number; order: number; run: () => void }[] = [];
  #order = 0;
  #refs = 0;
  #instance = 0;
  /** Held upgrades of this instance. */
  #held = new Map<number, (answer: { pair: CoupledPair } | null) => void>();
  #pairs = new Set<CoupledPair>();
  /** The secret that the agent has. */
  #secret = "";
  readonly actors: Record<Side, Actor> = { runner: { socket: null, attempt: 0 }, agent: { socket: null, attempt: 0 } };
  #controlUpFrom = 0;

  constructor(seed: number) {
    this.#seed = seed >>> 0;
    this.record = newRecord(0, 3_600_000_000);
    this.#dial("runner");
  }

  /** mulberry32 */
  random(): number {
    this.#seed = (this.#seed + 0x6d2b79f5) >>> 0;
    let t = this.#seed;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  between(low: number, high: number): number {
    return low + Math.floor(this.random() * (high - low));
  }

  after(ms: number, run: () => void): void {
    this.#order += 1;
    this.#queue.push({ at: this.now + ms, order: this.#order, run });
  }

  runUntil(end: number): void {
    for (;;) {
      this.#queue.sort((a, b) => a.at - b.at || a.order - b.order);
      const next = this.#queue[0];
      const alarm = nextAlarm(this.record, this.#presence) ?? Number.POSITIVE_INFINITY;
      if (Math.min(next?.at ?? Number.POSITIVE_INFINITY, alarm) > end) break;
      if (next === undefined || alarm < next.at) {
        this.now = Math.max(this.now, alarm);
        this.#apply({ type: "alarm" });
      } else {
        this.#queue.shift();
        this.now = next.at;
        next.run();
      }
    }
    this.now = end;
  }

  /** Both speak on the two ends of one coupling. */
  talking(): boolean {
    const { runner, agent } = this.actors;
    const pair = runner.socket?.pair;
    return pair !== undefined && agent.socket?.pair === pair && pair.runner.open && pair.agent.open;
  }

  // ── what the network does ──

  /** A clean cut of one side: both ends learn of it. */
  cut(side: Side): void {
    const socket = this.actors[side].socket;
    if (socket !== null) this.#lose(side, socket.pair, true);
  }

  /** Half-open: this side's traffic vanishes; each notices by silence. */
  silence(): void {
    const pair = this.actors.runner.socket?.pair;
    for (const side of SIDES) {
      const socket = this.actors[side].socket;
      if (socket !== null && socket.pair === pair)
        this.after(LOST_AFTER_MS + this.between(0, 5_000), () => this.#lose(side, socket.pair, false));
    }
  }

  /** One side notices a half-open socket and the other never would. */
  halfOpen(side: Side): void {
    const socket = this.actors[side].socket;
    if (socket !== null) this.#lose(side, socket.pair, false);
  }

  /** The instance ends: a deploy, an eviction, an abort. */
  restart(): void {
    this.#instance += 1;
    this.#presence = NOBODY;
    for (const pair of this.#pairs) for (const side of SIDES) this.#lose(side, pair, false);
    this.#pairs.clear();
    const held = [...this.#held.values()];
    this.#held.clear();
    for (const answer of held) answer(null);
    this.#apply({ type: "woke" });
  }

  controlDown(ms: number): void {
    this.#controlUpFrom = Math.max(this.#controlUpFrom, this.now + ms);
  }

  // ── runner and agent ──

  #lose(side: Side, pair: CoupledPair, tell: boolean): void {
    if (pair[side].open && tell) this.after(this.between(5, 80), () => this.#lose(other(side), pair, false));
    pair[side].open = false;
    const actor = this.actors[side];
    if (actor.socket?.pair !== pair) return;
    actor.socket = null;
    this.#dialLater(side);
  }

  #dialLater(side: Side): void {
    const actor = this.actors[side];
    actor.attempt += 1;
    const { attempt } = actor;
    this.after(this.between(100, 2_000), () => {
      if (actor.attempt === attempt) this.#dial(side);
    });
  }

  #dial(side: Side): void {
    const actor = this.actors[side];
    const old = actor.socket;
    actor.socket = null;
    if (old !== null) this.#lose(side, old.pair, true);
    actor.attempt += 1;
    const { attempt } = actor;
    const secret = this.#secret;
    const answer = (answered: { pair: CoupledPair } | null): void => {
      this.after(this.between(5, 80), () => {
        if (actor.attempt === attempt) {
          if (answered === null) this.#dialLater(side);
          else if (answered.pair[side].open) actor.socket = answered;
          else this.#dialLater(side);
        } else if (answered !== null) this.#lose(side, answered.pair, true);
      });
    };
    this.after(this.between(5, 80), () => this.#arrive(side, secret, answer));
  }

  #arrive(side: Side, secret: string, answer: (answered: { pair: CoupledPair } | null) => void): void {
    this.#refs += 1;
    const ref = this.#refs;
    this.#held.set(ref, answer);
    if (side === "runner") {
      const first = this.record.phase.kind === "opening";
      this.#apply({ type: "runner_arrived", ref, resumeHash: first ? "resume" : null, freshHash: `secret-${ref}` });
      return;
    }
    const is =
      secret !== "" && secret === this.record.dial?.hash
        ? "dial"
        : secret !== "" && secret === this.record.offered?.hash
          ? "offered"
          : "other";
    this.#apply({ type: "agent_arrived", ref, agent: "agt", secret: is });
  }

  // ── the object's shell ──

  #apply(event: SessionEvent): void {
    const next = step(this.record, this.#presence, event, this.now);
    this.record = next.record;
    this.#presence = next.presence;
    for (const effect of next.effects) this.#carryOut(effect);
  }

  #later(ms: number, event: SessionEvent): void {
    const instance = this.#instance;
    this.after(ms, () => {
      if (instance === this.#instance) this.#apply(event);
    });
  }

  #answer(ref: number, answered: { pair: CoupledPair } | null): void {
    const held = this.#held.get(ref);
    this.#held.delete(ref);
    held?.(answered);
  }

  #carryOut(effect: SessionEffect): void {
    switch (effect.type) {
      case "hold":
        return this.#later(effect.ms, { type: "wait_expired", ref: effect.ref });
      case "watch_alone":
        return this.#later(effect.ms, { type: "agent_alone", ref: effect.ref });
      case "dispatch":
        return this.#dispatch(effect.n);
      case "join": {
        this.joins += 1;
        const pair: CoupledPair = { runner: { open: true }, agent: { open: true } };
        this.#pairs.add(pair);
        this.#answer(effect.runner, { pair });
        return this.#answer(effect.agent, { pair });
      }
      case "refuse":
        return this.#answer(effect.ref, null);
      case "drop":
        this.drops += 1;
        return this.after(0, () => this.restart());
      case "settle":
        for (const what of ["active", "ended", "release"] as const) this.#apply({ type: "settled", what });
        return;
      case "cut":
      case "tell_agent":
      case "forget":
        return;
      default:
        throw new Error("unreachable");
    }
  }

  /** SiteDO: waits 5 s for the agent's control socket; what is sent may be lost with a socket that is already dead. */
  #dispatch(n: number): void {
    const secret = this.record.offered?.hash ?? "";
    const wait = Math.max(0, this.#controlUpFrom - this.now);
    if (wait > 5_000) return this.#later(5_000, { type: "dispatch_failed", n, code: "site_offline" });
    const sentAt = wait + this.between(1, 20);
    this.#later(sentAt + this.between(1, 20), { type: "dispatched", n, agent: "agt" });
    this.after(sentAt + this.between(5, 400), () => {
      if (this.now < this.#controlUpFrom) return;
      this.#secret = secret;
      this.#dial("agent");
    });
  }
}
