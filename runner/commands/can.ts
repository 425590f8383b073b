/** `sallyport can TARGET [ACTION] [RESOURCE]` */
import type { Command } from "commander";
import { CanAnswer } from "../../protocol/api.ts";
import { unreachable } from "../../protocol/result.ts";
import { EXIT } from "../exit.ts";
import { connectGateway, withGateway, type GatewayOptions } from "../options.ts";
import { json, out, plain } from "../print.ts";

const HELP = `
Examples:
  sallyport can orders-db
  sallyport can orders-db pg:delete public.orders
  sallyport can orders-db pg:call 'public.purge()'

Actions are those of docs/policy.md; without one it asks for \`connect\`. Exit status: 0 allowed, 3 an approval is needed, 1 denied.`;

export function declare(command: Command): void {
  withGateway(command)
    .argument("<target>")
    .argument("[action]", "such as pg:select; default connect")
    .argument("[resource]", "what it is done to: schema.table, schema.function(), [class]")
    .addHelpText("after", HELP)
    .action(async (target: string, action: string | undefined, resource: string | undefined, options: GatewayOptions) => {
      const body = { target, action, resource };
      const answer = await connectGateway(options).request("/v1/can", CanAnswer, { method: "POST", body });
      process.exitCode = exitOfOutcome(answer);
      if (options.json === true) return json(answer);
      const policies = answer.policies.length === 0 ? "" : ` (policy ${answer.policies.join(", ")})`;
      return out(plain(`${verdict(answer)}: ${answer.action} on ${answer.resource}${policies}. ${answer.reason}`));
    });
}

function verdict({ outcome, approvals }: CanAnswer): string {
  switch (outcome) {
    case "allow":
      return "yes";
    case "deny":
      return "no";
    case "hold":
      return `only with approval by ${approvals.map(({ group, min }) => (min > 1 ? `${min} of ${group}` : group)).join(" and ")}`;
    default:
      return unreachable(outcome);
  }
}

function exitOfOutcome({ outcome }: CanAnswer): number {
  switch (outcome) {
    case "allow":
      return EXIT.ok;
    case "deny":
      return EXIT.failed;
    case "hold":
      return EXIT.approval;
    default:
      return unreachable(outcome);
  }
}
