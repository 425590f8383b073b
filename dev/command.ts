/** `sallyport dev --config DIR` and `sallyport dev token`. */
import type { Command } from "commander";
import { Option } from "commander";
import { PROVIDER_NAMES } from "../policy/providers.ts";
import { AgentStartError } from "../tunnel-agent/agent.ts";
import { CommandFailed, EXIT } from "../runner/exit.ts";
import { wholeNumber } from "../runner/options.ts";
import { note, out } from "../runner/print.ts";
import { versionOf } from "../runner/version.ts";
import { DevConfigError, printBundleProblem, startDevGateway } from "./gateway.ts";
import { untilToldToEnd } from "./signals.ts";
import { mintDevToken } from "./token.ts";

interface DevCommandOptions {
  readonly config?: string;
  readonly port: number;
  readonly coupling: "coupled" | "relay";
  readonly agent: boolean;
  readonly verbose?: boolean;
  readonly json?: boolean;
}

interface TokenCommandOptions {
  readonly config: string;
  readonly provider: string;
  readonly claim: readonly string[];
  readonly issuer?: string;
  readonly audience?: string;
}

const HELP = `
DIR holds
  agent.yaml      the targets, with credentials by reference
  sallyport/      the bundle: gateway.yaml, identities/, policies/, …
  .sallyport/     made by this command: state of the gateway and the agent, the local issuer's key

Examples:
  sallyport dev --config ./my-gateway
  sallyport dev token --config ./my-gateway --provider github --claim repository_id=1 --claim environment=production

Tokens of https issuers are verified with the local issuer's key here, so the bundle works unchanged.`;

/** What the person can mend becomes a sentence and a status. */
async function mendable<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof DevConfigError || error instanceof AgentStartError) throw new CommandFailed(EXIT.usage, error.message);
    if (error instanceof Error && error.message.includes("Cannot find package 'miniflare'")) {
      throw new CommandFailed(
        EXIT.unavailable,
        "sallyport dev runs the Worker in workerd, which is a program of its own: npm install miniflare@5.20261117.0-beta beside sallyport",
      );
    }
    if (error instanceof Error && /EADDRINUSE|[Aa]ddress already in use/.test(error.message))
      throw new CommandFailed(EXIT.unavailable, "the port is taken: choose another with --port, or 0 for any");
    throw error;
  }
}

export function declare(command: Command): void {
  // `dev token --config DIR`: the option belongs to whichever of the two it follows.
  command.enablePositionalOptions();
  command
    .option("--config <dir>", "the directory of agent.yaml and sallyport/")
    .option("--port <n>", "the gateway's port; 0: any free one", wholeNumber(0, 65_535), 8787)
    .addOption(new Option("--coupling <kind>", "how the edge joins sockets").choices(["coupled", "relay"]).default("coupled"))
    .option("--no-agent", "boot the edge alone; enrol your own agents")
    .option("--verbose", "the logs of the gateway and the agent on stderr")
    .option("--json", "print what runs as one line of JSON")
    .addHelpText("after", HELP)
    .action(run);
  command
    .command("token")
    .description("A signed token of the local issuer with a provider's real claim set.")
    .requiredOption("--config <dir>", "the directory given to sallyport dev")
    .addOption(new Option("--provider <name>", "whose claim set").choices(PROVIDER_NAMES).makeOptionMandatory())
    .option(
      "--claim <name=value>",
      "override a claim; name:=JSON for a value that is not text; name= leaves it out; repeat",
      (value: string, all: readonly string[]) => [...all, value],
      [],
    )
    .option("--issuer <iss>", "another issuer than gateway.yaml's first of this provider")
    .option("--audience <aud>", "another audience than gateway.yaml's")
    .action(async (options: TokenCommandOptions) => {
      out(
        await mendable(() =>
          mintDevToken({
            directory: options.config,
            provider: options.provider,
            claims: options.claim,
            issuer: options.issuer,
            audience: options.audience,
            now: Date.now(),
          }),
        ),
      );
    });
}

async function run(options: DevCommandOptions): Promise<void> {
  const { config } = options;
  // Not a required option of commander's: those of a parent bind its subcommands too.
  if (config === undefined)
    throw new CommandFailed(EXIT.usage, "which directory? Give --config DIR; sallyport dev --help says what it holds");
  const agentLog = { write: (line: string) => void (options.verbose === true && process.stderr.write(line)) };
  const gateway = await mendable(() =>
    startDevGateway({
      directory: config,
      port: options.port,
      env: process.env,
      agentLog,
      edgeLog: (line) => agentLog.write(`${line}\n`),
      version: versionOf(),
      agent: options.agent,
      coupling: options.coupling,
    }),
  );
  for (const warning of gateway.bundle.warnings) note(printBundleProblem(warning));
  if (options.json === true) {
    const health = gateway.agent === undefined ? null : gateway.agent.health;
    out(JSON.stringify({ gateway: gateway.origin, bundle: gateway.bundle.version, agent: gateway.agent?.agent ?? null, health }));
  } else {
    out(gateway.origin);
    note(
      `bundle ${gateway.bundle.version}${gateway.bundle.published ? " published" : ""}${gateway.agent === undefined ? "" : ", agent connected"}; Ctrl-C ends it`,
    );
  }
  await untilToldToEnd();
  await gateway.stop();
}
