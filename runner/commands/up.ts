/** `sallyport up TARGET…` */
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { appendFileSync, closeSync, openSync, readFileSync } from "node:fs";
import { Option, type Command } from "commander";
import { asJson, githubEnvironment, githubMasks, shellExports } from "../background/announce.ts";
import { runInBackground, type Report } from "../background/process.ts";
import { backgroundDirectory, logPath } from "../background/state.ts";
import { CommandFailed, EXIT } from "../exit.ts";
import { gatewayAddress } from "../gateway.ts";
import { withTunnel, type TunnelOptions } from "../options.ts";
import { createReporter, toStderr } from "../reporter.ts";
import { checkNames, environmentOf } from "../tunnel/environment.ts";
import { holdMode } from "../tunnel/held.ts";
import type { TargetAddress } from "../tunnel/target.ts";

const HELP = `
In GitHub Actions the variables go to $GITHUB_ENV, for every later step; elsewhere they are printed for a shell:
  eval "$(sallyport up orders-db)"
  psql -c 'select 1'
  sallyport down

The variables are those of sallyport run. The sessions end with \`sallyport down\`, at their deadline, or with the machine.
--json prints the targets and the variables instead; it is the only other place where the run's own password is shown.`;

interface UpOptions extends TunnelOptions {
  readonly background?: string;
}

export function declare(command: Command): void {
  withTunnel(command)
    .argument("<target...>", "the targets that later steps need")
    .addOption(new Option("--background <id>").hideHelp())
    .addHelpText("after", HELP)
    .action(async (targets: string[], options: UpOptions) => {
      const gateway = gatewayAddress(options.gateway, process.env);
      if (options.background !== undefined) return runInBackground({ id: options.background, gateway, targets });
      const names = checkNames(targets);
      if (!names.ok) throw new CommandFailed(EXIT.usage, names.error);
      // The background process reads it too; what is wrong with it belongs here, before there is one.
      holdMode(process.env);
      const report = await start(gateway, targets);
      if (report.type === "failed") throw new CommandFailed(report.status, report.message);
      announce(report.addresses, options);
      const said = createReporter({ quiet: options.quiet }, toStderr);
      for (const { target, session, host, port } of report.addresses) {
        said.info("open", `${target}: session ${session} on ${host}:${port}, until sallyport down`, {});
      }
      return process.exit(EXIT.ok);
    });
}

/** Starts this same program detached, and waits for its word. Its arguments hold no secret; the password comes by the channel. */
async function start(gateway: string, targets: readonly string[]): Promise<Report> {
  const [, script] = process.argv;
  if (script === undefined) throw new Error("the program does not know its own path");
  const directory = backgroundDirectory(process.env);
  const id = randomBytes(8).toString("hex");
  const log = openSync(logPath(directory, id), "wx", 0o600);
  const child = spawn(process.execPath, [...process.execArgv, script, "up", "--background", id, "--gateway", gateway, "--", ...targets], {
    detached: true,
    stdio: ["ignore", log, log, "ipc"],
  });
  closeSync(log);
  const report = await wordOf(child, () => readFileSync(logPath(directory, id), "utf8"));
  if (child.connected) child.disconnect();
  child.unref();
  return report;
}

function wordOf(child: ChildProcess, log: () => string): Promise<Report> {
  return new Promise((resolve) => {
    child.once("message", (message) => resolve(message as Report));
    child.once("error", (error) =>
      resolve({ type: "failed", message: `the background process cannot be started: ${error.message}`, status: EXIT.software }),
    );
    child.once("exit", (code) =>
      resolve({ type: "failed", message: `the background process ended with ${code}: ${log().slice(-2000)}`, status: EXIT.software }),
    );
  });
}

function announce(addresses: readonly TargetAddress[], options: UpOptions): void {
  const variables = environmentOf(addresses);
  const file = process.env["GITHUB_ENV"];
  const inGithub = file !== undefined && file !== "";
  // Masked before anything could show it.
  if (inGithub) process.stdout.write(githubMasks(addresses));
  if (inGithub) appendFileSync(file, githubEnvironment(variables, `sallyport_${randomBytes(16).toString("hex")}`));
  if (options.json === true) process.stdout.write(asJson(addresses));
  else if (!inGithub) process.stdout.write(shellExports(variables));
}
