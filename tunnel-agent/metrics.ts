/**
 * The agent's numbers for Prometheus. Counting on the data path is a plain addition; the series are made when they
 * are scraped. Labels are names from agent.yaml and words of this code, never what a peer sent.
 */
import { Counter, Gauge, Registry } from "prom-client";
import type { RecordingStats } from "./recording/recording.ts";

/** What is read at scrape time. */
export interface Readings {
  readonly sessions: number;
  readonly connected: boolean;
  readonly dials: number;
  readonly policyVersion: number;
  /** s; Infinity when there never was one. */
  readonly policyAge: number;
  readonly spoolBytes: number;
  readonly backlog: { readonly segments: number; readonly bytes: number };
}

export interface Metrics extends RecordingStats {
  session(target: string, code: string): void;
  upload(result: string): void;
  /** Prometheus text format. */
  text(): Promise<string>;
  readonly contentType: string;
}

/** Counts by two labels. */
class Tally {
  readonly #counts = new Map<string, Map<string, number>>();

  add(a: string, b: string, by = 1): void {
    let inner = this.#counts.get(a);
    if (inner === undefined) this.#counts.set(a, (inner = new Map()));
    inner.set(b, (inner.get(b) ?? 0) + by);
  }

  *entries(): Generator<readonly [string, string, number]> {
    for (const [a, inner] of this.#counts) for (const [b, count] of inner) yield [a, b, count];
  }
}

export function createMetrics(read: () => Readings): Metrics {
  const registry = new Registry();
  const sessions = new Tally();
  const commands = new Tally();
  const bytes = new Tally();
  const uploads = new Tally();
  let failures = 0;

  const counter = (name: string, help: string, tally: Tally, labels: readonly [string, string]): void => {
    const series = new Counter({
      name,
      help,
      labelNames: labels,
      registers: [registry],
      collect: () => {
        series.reset();
        for (const [a, b, count] of tally.entries()) series.inc({ [labels[0]]: a, [labels[1]]: b }, count);
      },
    });
  };
  const total = (name: string, help: string, value: () => number): void => {
    const series = new Counter({
      name,
      help,
      registers: [registry],
      collect: () => {
        series.reset();
        series.inc(value());
      },
    });
  };
  const gauge = (name: string, help: string, value: () => number): void => {
    const series: Gauge = new Gauge({ name, help, registers: [registry], collect: () => series.set(value()) });
  };

  counter("sallyport_agent_sessions_total", "Sessions that ended, by target and end code.", sessions, ["target", "code"]);
  counter("sallyport_agent_commands_total", "Commands recorded, by target and decision.", commands, ["target", "decision"]);
  counter("sallyport_agent_bytes_total", "Bytes of closed client streams, by target and direction.", bytes, ["target", "direction"]);
  counter("sallyport_agent_uploads_total", "Attempts to upload a recording segment, by result.", uploads, ["kind", "result"]);
  total("sallyport_agent_recording_failures_total", "Events that could not be written to the spool.", () => failures);
  total("sallyport_agent_control_dials_total", "Dials of the control socket; more than one is a reconnect.", () => read().dials);
  gauge("sallyport_agent_sessions", "Live sessions.", () => read().sessions);
  gauge("sallyport_agent_control_connected", "1 while the gateway has welcomed this agent.", () => (read().connected ? 1 : 0));
  gauge("sallyport_agent_policy_version", "Bundle version that decides; 0: none.", () => read().policyVersion);
  gauge("sallyport_agent_policy_age_seconds", "Since the gateway last stood by the bundle.", () => read().policyAge);
  gauge("sallyport_agent_spool_bytes", "Bytes in the spool.", () => read().spoolBytes);
  gauge("sallyport_agent_upload_backlog_bytes", "Bytes of closed segments not acknowledged yet.", () => read().backlog.bytes);
  gauge("sallyport_agent_upload_backlog_segments", "Closed segments not acknowledged yet.", () => read().backlog.segments);
  gauge("sallyport_agent_resident_memory_bytes", "Resident memory of the process.", () => process.memoryUsage.rss());

  return {
    session: (target, code) => sessions.add(target, code),
    commands: (target, decision) => commands.add(target, decision),
    bytes: (target, received, sent) => {
      bytes.add(target, "received", received);
      bytes.add(target, "sent", sent);
    },
    failed: () => {
      failures += 1;
    },
    upload: (result) => uploads.add("segment", result),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}
