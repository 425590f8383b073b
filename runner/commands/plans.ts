/** `sallyport plans list|show` */
import type { Command } from "commander";
import { page } from "../../protocol/api.ts";
import { Plan, PlanRow } from "../../protocol/plan.ts";
import { connectGateway, withGateway, withPage, type GatewayOptions, type PageOptions } from "../options.ts";
import { adviceOn, printPlan, statusOf } from "../plan.ts";
import { json, listing, note, out, when } from "../print.ts";

interface ListOptions extends GatewayOptions, PageOptions {
  readonly identity?: string;
  readonly target?: string;
}

export function declare(command: Command): void {
  withPage(withGateway(command.command("list").description("plans, newest first; everybody's with session:read")))
    .option("--identity <name>", "of one identity")
    .option("--target <name>", "on one target")
    .action(async (options: ListOptions) => {
      const { identity, target, limit, cursor } = options;
      const answer = await connectGateway(options).request("/v1/plans", page(PlanRow), { query: { identity, target, limit, cursor } });
      listing(
        answer,
        options.json === true,
        ["plan", "made", "identity", "target", "verdict", "approval", "used by"],
        (row) => [row.id, when(row.created_at), row.identity, row.target, row.verdict, row.approval ?? "–", row.used_by ?? "–"],
        "no plans",
      );
    });
  withGateway(command.command("show").description("one plan, as it stands now"))
    .argument("<id>", "the plan")
    .addHelpText("after", "\nExit status: 0 it may be run, 3 an approval is open, 4 refused, used or over.")
    .action(async (id: string, options: GatewayOptions) => {
      const plan = await connectGateway(options).request(`/v1/plans/${encodeURIComponent(id)}`, Plan);
      if (options.json === true) json(plan);
      else {
        out(`${printPlan(plan)}\n`);
        note(adviceOn(plan, undefined));
      }
      process.exitCode = statusOf(plan);
    });
}
