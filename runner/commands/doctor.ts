/** `sallyport doctor [TARGET…]` */
import type { Command } from "commander";
import { examine } from "../doctor/checks.ts";
import type { Finding } from "../doctor/finding.ts";
import { EXIT } from "../exit.ts";
import { withGateway, type GatewayOptions } from "../options.ts";
import { json, out, plainLines } from "../print.ts";
import { createReporter } from "../reporter.ts";

const SIGN = { ok: "ok  ", warn: "warn", fail: "FAIL", skip: "skip" } as const;

export function declare(command: Command): void {
  withGateway(command)
    .argument("[target...]", "open and close a session to these, for real")
    .addHelpText(
      "after",
      "\nExamples:\n  sallyport doctor\n  sallyport doctor orders-db\n\nExit status: 1 when something fails. No token is shown.",
    )
    .action(async (targets: string[], options: GatewayOptions) => {
      const findings: Finding[] = [];
      const report = createReporter({ quiet: true }, () => {});
      for await (const finding of examine({ gateway: options.gateway, targets, env: process.env, now: Date.now, report })) {
        findings.push(finding);
        if (options.json !== true)
          out(`${SIGN[finding.status]} ${plainLines(`${finding.check}: ${finding.message}`).replaceAll("\n", "\n     ")}`);
      }
      const failed = findings.some(({ status }) => status === "fail");
      if (options.json === true) json({ ok: !failed, findings });
      process.exitCode = failed ? EXIT.failed : EXIT.ok;
    });
}
