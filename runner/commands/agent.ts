/** `sallyport agent --config agent.yaml` */
import type { Command } from "commander";
import { restartWithFlags } from "../../tunnel-agent/engine.ts";
import { versionOf } from "../version.ts";

export function declare(command: Command): void {
  command
    .requiredOption("--config <file>", "agent.yaml")
    .option("--check", "only say whether the configuration is good")
    .addHelpText(
      "after",
      "\nExamples:\n  sallyport agent --config /etc/sallyport/agent.yaml\n  sallyport agent --config agent.yaml --check\n\nIt logs JSON to stderr; SIGTERM drains it. docs/operations.md has a systemd unit.",
    )
    .action(async (options: { readonly config: string; readonly check?: boolean }) => {
      if (options.check !== true) restartWithFlags();
      const { runAgentCommand } = await import("../../tunnel-agent/main.ts");
      process.exitCode = await runAgentCommand({ config: options.config, check: options.check, version: versionOf() });
    });
}
