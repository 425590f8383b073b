/**
 * `sallyport agent --config agent.yaml`: the agent as a process. Reads the configuration, starts the agent, and ends
 * it on SIGTERM or SIGINT: the first drains, a second one ends at once. Errors of the start are one sentence each on
 * stderr; from then on stderr is the log.
 */
import { AgentStartError, startAgent, type RunningAgent } from "./agent.ts";
import { loadAgentConfig, printProblem, type Protocols } from "./config/load.ts";
import { CredentialUnavailable } from "./credentials/store.ts";
import { describeFault, install } from "./fault-domain.ts";
import { ListenError } from "./health.ts";
import { stderrStream } from "./log.ts";
import { PROTOCOLS } from "./protocols/registry.ts";
import { StateError } from "./state/directory.ts";
import { EnrolmentFailed } from "./state/identity.ts";

export interface AgentCommandOptions {
  /** Path of agent.yaml. */
  readonly config: string;
  /** Only check the configuration and say what is wrong with it. */
  readonly check?: boolean | undefined;
  readonly version?: string | undefined;
  readonly protocols?: Protocols | undefined;
}

/** Exit statuses, for the service manager. */
export const EXIT = {
  stopped: 0,
  /** Cannot start now; trying again may help. */
  start: 1,
  /** The configuration is wrong; trying again does not help. */
  config: 2,
  /** The gateway sent the agent away: revoked, or another process uses its key. */
  dismissed: 3,
  /** A fault of the agent itself. */
  fault: 70,
} as const;

const say = (text: string): void => void process.stderr.write(`sallyport agent: ${text}\n`);

/** Runs until the agent is told to stop; resolves to the exit status. */
export async function runAgentCommand(options: AgentCommandOptions): Promise<number> {
  const protocols = options.protocols ?? PROTOCOLS;
  const config = loadAgentConfig(options.config, protocols);
  if (!config.ok) {
    for (const problem of config.error) say(printProblem(problem));
    return EXIT.config;
  }
  if (options.check === true) {
    say(`${options.config} is good: ${config.value.targets.length} target(s)`);
    return EXIT.stopped;
  }
  let agent: RunningAgent;
  try {
    const version = options.version ?? process.env["SALLYPORT_VERSION"] ?? "unreleased";
    agent = await startAgent({ config: config.value, protocols, env: process.env, log: stderrStream, version });
  } catch (error) {
    return startFailed(error);
  }
  return untilStopped(agent);
}

function startFailed(error: unknown): number {
  // Sentences made for an operator. Anything else is told by its class: its message may hold data.
  const known = [AgentStartError, StateError, EnrolmentFailed, CredentialUnavailable, ListenError].some((kind) => error instanceof kind);
  if (known && error instanceof Error) say(error.message);
  else say(`could not start: ${JSON.stringify(describeFault(error))}`);
  return error instanceof AgentStartError ? EXIT.config : EXIT.start;
}

async function untilStopped(agent: RunningAgent): Promise<number> {
  const hurry = new AbortController();
  let resolve: (status: number) => void = () => {};
  const asked = new Promise<number>((done) => {
    resolve = done;
  });
  let signals = 0;
  const onSignal = (): void => {
    signals += 1;
    if (signals > 1) hurry.abort();
    resolve(EXIT.stopped);
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  const uninstall = install((error) => {
    agent.log.fatal(describeFault(error), "the agent failed; it ends its sessions and exits");
    hurry.abort();
    resolve(EXIT.fault);
  });
  const dismissed = async (): Promise<number> => {
    await agent.dismissed;
    hurry.abort();
    return EXIT.dismissed;
  };
  const status = await Promise.race([asked, dismissed()]);
  await agent.stop({ now: hurry.signal });
  uninstall();
  process.off("SIGTERM", onSignal);
  process.off("SIGINT", onSignal);
  return status;
}
