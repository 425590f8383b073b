/** `sallyport run TARGET [TARGET…] -- COMMAND` */
import type { Command } from "commander";
import { CommandFailed, EXIT } from "../exit.ts";
import { gatewayAddress, openGateway } from "../gateway.ts";
import { withTunnel, type TunnelOptions } from "../options.ts";
import { createReporter, toStderr } from "../reporter.ts";
import { runChild } from "../tunnel/child.ts";
import { childEnvironment, environmentOf } from "../tunnel/environment.ts";
import { HeldCommands, holdMode } from "../tunnel/held.ts";
import { openTargets } from "../tunnel/targets.ts";

const HELP = `
The command finds the first PostgreSQL target in PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE and DATABASE_URL,
and every target in SALLYPORT_<TARGET>_HOST, _PORT, _USER, _PASSWORD, _DATABASE, _URL and _SESSION. The password is this
run's own: it lets the command in through the listener on loopback, and is no credential of the target.

Examples:
  sallyport run orders-db -- psql -c 'select count(*) from orders'
  sallyport run orders-db -- npm run migrate
  sallyport run --plan pln_… orders-db -- psql -f migration.sql
  sallyport run orders-db stock-db -- sh -c 'pg_dump "$SALLYPORT_STOCK_DB_URL" | psql'

A statement that needs an approval waits for it, and the command with it. With SALLYPORT_HOLD=fail, or 'hold: fail' in the
identity's file, it is refused at once instead; once it is approved, the same pipeline can run the same statement once.

Exit status: the command's own (128 + n when it ended by signal n; 126, 127 when it cannot be run or found); 75 when it
failed and one of its statements was refused until it is approved. Before it runs: 64 usage, 69 gateway or target cannot
be reached, 75 try again or approval needed, 76 not a gateway, 77 refused.`;

/** Arguments around the first `--`, which commander does not keep. */
function split(operands: readonly string[], command: Command): { targets: readonly string[]; line: readonly string[] } {
  const raw = (command as Command & { rawArgs: string[] }).rawArgs;
  const dashes = raw.indexOf("--");
  const after = dashes === -1 ? 0 : raw.length - dashes - 1;
  return { targets: operands.slice(0, operands.length - after), line: operands.slice(operands.length - after) };
}

export function declare(command: Command): void {
  withTunnel(command)
    .argument("<target...>", "the targets that the command needs")
    .option("--plan <id>", "run only the statements of a plan (sallyport plan), once; of one target")
    .usage("[OPTION…] TARGET [TARGET…] -- COMMAND [ARGUMENT…]")
    .addHelpText("after", HELP)
    .action(async (operands: string[], options: TunnelOptions & { readonly plan?: string }) => {
      const { targets, line } = split(operands, command);
      const [program, ...args] = line;
      if (program === undefined || targets.length === 0) {
        throw new CommandFailed(EXIT.usage, "write: sallyport run TARGET [TARGET…] -- COMMAND [ARGUMENT…]");
      }
      const { plan } = options;
      if (plan !== undefined && targets.length > 1) throw new CommandFailed(EXIT.usage, "a plan is of one target: name that one alone");
      const report = createReporter({ ...options, debug: process.env["SALLYPORT_DEBUG"] === "1" }, toStderr);
      const gateway = openGateway(gatewayAddress(options.gateway, process.env), process.env);
      const held = new HeldCommands(report);
      const opened = await openTargets(gateway, targets, report, { hold: holdMode(process.env), held, plan });
      const outcome = await runChild(program, args, childEnvironment(process.env, environmentOf(opened.addresses)));
      await opened.close();
      if (outcome.failure !== undefined) report.warn("not_run", outcome.failure, {});
      process.exit(held.status(outcome.status));
    });
}
