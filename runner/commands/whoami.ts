/** `sallyport whoami` */
import type { Command } from "commander";
import { Whoami } from "../../protocol/api.ts";
import { connectGateway, withGateway, type GatewayOptions } from "../options.ts";
import { json, out, plain, when } from "../print.ts";

export function declare(command: Command): void {
  withGateway(command).action(async (options: GatewayOptions) => {
    const answer = await connectGateway(options).request("/v1/whoami", Whoami);
    if (options.json === true) return json(answer);
    const { workload } = answer;
    const lines: readonly (readonly [string, string | undefined])[] = [
      ["identity", `${answer.identity} (${answer.kind}, owner ${answer.owner})`],
      ["groups", answer.groups.length === 0 ? "none" : answer.groups.join(", ")],
      ["provider", `${workload.provider}, ${workload.issuer}`],
      ["pipeline", workload.pipeline ?? workload.repository],
      ["ref", workload.ref],
      ["environment", workload.environment],
      ["run", workload.run_url ?? workload.run_id],
      ["actor", workload.actor],
      ["bundle", `version ${answer.bundle}`],
      ["valid until", answer.expires_at === undefined ? undefined : when(answer.expires_at)],
    ];
    for (const [name, value] of lines) if (value !== undefined) out(`${name.padEnd(12)} ${plain(value)}`);
  });
}
