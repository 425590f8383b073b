/** `sallyport history` */
import type { Command } from "commander";
import { Option } from "commander";
import { CommandRow, page } from "../../protocol/api.ts";
import { connectGateway, pastTime, withGateway, withPage, type FilterOptions, type GatewayOptions } from "../options.ts";
import { cut, listing, when } from "../print.ts";

const TEXT_WIDTH = 100;

type Options = GatewayOptions & FilterOptions & { readonly session?: string };

export function declare(command: Command): void {
  withPage(withGateway(command))
    .argument("[words...]", "only commands whose text has all of them")
    .option("--session <id>", "of one session")
    .option("--pipeline <name>", "of one pipeline, such as shop/orders: deploy")
    .option("--run <id>", "of one pipeline run")
    .option("--job <id>", "of one job")
    .option("--target <name>", "on one target")
    .option("--action <action>", "that needed an action, such as pg:delete")
    .addOption(new Option("--decision <decision>", "that were decided so").choices(["allow", "hold", "deny"]))
    .option("--since <time>", "from a time on: 2026-11-22T08:00Z, or 2h ago as 2h", pastTime)
    .option("--until <time>", "before a time", pastTime)
    .addHelpText("after", "\nExamples:\n  sallyport history --since 1h\n  sallyport history delete orders --decision deny --json")
    .action(async (words: string[], options: Options) => {
      const { session, pipeline, run, job, target, action, decision, since, until, limit, cursor } = options;
      const q = words.length === 0 ? undefined : words.join(" ");
      const rows = await connectGateway(options).request("/v1/history", page(CommandRow), {
        query: { q, session, pipeline, run, job, target, action, decision, since, until, limit, cursor },
      });
      listing(
        rows,
        options.json === true,
        ["WHEN", "TARGET", "DECISION", "STATUS", "ROWS", "SESSION", "COMMAND"],
        (row) => [
          when(row.at),
          row.target,
          row.decision,
          row.code ?? row.status ?? "–",
          row.rows === null ? "–" : String(row.rows),
          row.session,
          cut(row.text, TEXT_WIDTH),
        ],
        "no command of yours is recorded",
      );
    });
}
