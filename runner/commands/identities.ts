/** `sallyport identities list|revoke|restore` */
import type { Command } from "commander";
import { IdentityRow, page, RevokeAnswer } from "../../protocol/api.ts";
import { connectGateway, withGateway, withPage, type GatewayOptions, type PageOptions } from "../options.ts";
import { json, listing, out, when } from "../print.ts";

const path = (name: string, verb: string): string => `/v1/identities/${encodeURIComponent(name)}/${verb}`;

export function declare(command: Command): void {
  withPage(withGateway(command.command("list").description("The identities of the active bundle."))).action(
    async (options: GatewayOptions & PageOptions) => {
      const { limit, cursor } = options;
      const rows = await connectGateway(options).request("/v1/identities", page(IdentityRow), { query: { limit, cursor } });
      listing(
        rows,
        options.json === true,
        ["IDENTITY", "KIND", "OWNER", "LIVE", "LAST USED", "REVOKED", "PURPOSE"],
        (row) => [row.name, row.kind, row.owner, String(row.live_sessions), when(row.last_used_at), when(row.revoked_at), row.purpose],
        "the active bundle declares no identity",
      );
    },
  );
  withGateway(command.command("revoke").description("Revoke an identity: its live sessions end within a second, new ones are refused."))
    .argument("<name>")
    .option("--reason <text>", "for the record and for its clients")
    .action(async (name: string, options: GatewayOptions & { readonly reason?: string }) => {
      const body = options.reason === undefined ? {} : { reason: options.reason };
      const answer = await connectGateway(options).request(path(name, "revoke"), RevokeAnswer, { method: "POST", body });
      if (options.json === true) return json(answer);
      return out(`${answer.identity} is revoked; ${answer.sessions_ended.length} live session(s) ended`);
    });
  withGateway(command.command("restore").description("Let a revoked identity in again."))
    .argument("<name>")
    .action(async (name: string, options: GatewayOptions) => {
      const answer = await connectGateway(options).request(path(name, "restore"), RevokeAnswer, { method: "POST", body: {} });
      if (options.json === true) return json(answer);
      return out(`${answer.identity} is let in again`);
    });
}
