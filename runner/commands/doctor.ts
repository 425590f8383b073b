/** `sallyport doctor [TARGET…]` */
import type { Command } from "commander";
import { examine } from "../doctor/checks.ts";
import type { Finding } from "../doctor/finding.ts";
import { CommandFailed, EXIT } from "../exit.ts";
import { withGateway, type GatewayOptions } from "../options.ts";
import { json, out, plain, plainLines } from "../print.ts";
import { createReporter } from "../reporter.ts";

const SIGN = { ok: "ok  ", warn: "warn", fail: "FAIL", skip: "skip" } as const;

interface DoctorOptions extends GatewayOptions {
  readonly sql?: boolean;
}

const HELP = `
Of a target it says which masking guarantee holds and why, and what the agent's logins may do beyond their task. Superuser,
REPLICATION, roles that can give themselves more, and whatever takes level A away fail; the rest warns. It needs the action
target:inspect; who may only connect is told the level. Nothing is changed: --sql prints what would.

Examples:
  sallyport doctor
  sallyport doctor orders-db
  sallyport doctor orders-db --sql > mend.sql

Exit status: 1 when something fails. No token is shown.`;

const asLine = ({ check, status, message }: Finding): string =>
  `${SIGN[status]} ${plainLines(`${check}: ${message}`).replaceAll("\n", "\n     ")}`;

/** What is found as comments, what mends it as statements: together one script for psql. */
const asSql = ({ check, status, message, sql = [] }: Finding): string =>
  [`-- ${SIGN[status]} ${plain(`${check}: ${message}`)}`, ...sql.map(plain)].join("\n");

export function declare(command: Command): void {
  withGateway(command)
    .argument("[target...]", "open and close a session to these, for real, and look at what their agents' logins may do")
    .option("--sql", "print the statements that would mend what is found at the targets, to review and run by hand")
    .addHelpText("after", HELP)
    .action(async (targets: string[], options: DoctorOptions) => {
      if (options.sql === true && targets.length === 0) throw new CommandFailed(EXIT.usage, "--sql is about targets: name one");
      const findings: Finding[] = [];
      const report = createReporter({ quiet: true }, () => {});
      for await (const finding of examine({ gateway: options.gateway, targets, env: process.env, now: Date.now, report })) {
        findings.push(finding);
        if (options.json !== true) out(options.sql === true ? asSql(finding) : asLine(finding));
      }
      const failed = findings.some(({ status }) => status === "fail");
      if (options.json === true) json({ ok: !failed, findings });
      process.exitCode = failed ? EXIT.failed : EXIT.ok;
    });
}
