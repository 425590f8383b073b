/** `sallyport targets` */
import type { Command } from "commander";
import { page, TargetRow } from "../../protocol/api.ts";
import { connectGateway, withGateway, withPage, type GatewayOptions, type PageOptions } from "../options.ts";
import { listing } from "../print.ts";

export function declare(command: Command): void {
  withPage(withGateway(command)).action(async (options: GatewayOptions & PageOptions) => {
    const { limit, cursor } = options;
    const rows = await connectGateway(options).request("/v1/targets", page(TargetRow), { query: { limit, cursor } });
    listing(
      rows,
      options.json === true,
      ["TARGET", "PROTOCOL", "SITE", "ENVIRONMENT", "ONLINE", "CONNECT"],
      (row) => [row.name, row.protocol, row.site, row.environment ?? "–", row.online ? "yes" : "no", row.connect],
      "no target is announced yet: start an agent (sallyport agent --help)",
    );
  });
}
