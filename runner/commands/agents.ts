/** `sallyport agents list|enrol|revoke` */
import type { Command } from "commander";
import * as z from "zod";
import { AgentRow, EnrolmentTokenAnswer, page } from "../../protocol/api.ts";
import { connectGateway, wholeNumber, withGateway, withPage, type GatewayOptions, type PageOptions } from "../options.ts";
import { json, listing, note, out, when } from "../print.ts";
import { bootstrapRequest } from "../bootstrap.ts";

interface EnrolOptions extends GatewayOptions {
  readonly site: string;
  readonly target?: string[];
  readonly ttl?: number;
  readonly bootstrap?: boolean;
}

export function declare(command: Command): void {
  withPage(withGateway(command.command("list").description("Agents, and whether they are connected."))).action(
    async (options: GatewayOptions & PageOptions) => {
      const { limit, cursor } = options;
      const rows = await connectGateway(options).request("/v1/agents", page(AgentRow), { query: { limit, cursor } });
      listing(
        rows,
        options.json === true,
        ["AGENT", "NAME", "SITE", "ONLINE", "VERSION", "BUNDLE", "LAST SEEN", "REVOKED", "TARGETS"],
        (row) => [
          row.id,
          row.name,
          row.site,
          row.online ? "yes" : "no",
          row.version ?? "–",
          row.bundle === null ? "–" : String(row.bundle),
          when(row.last_seen_at),
          when(row.revoked_at),
          row.targets.map((target) => target.name).join(" "),
        ],
        "no agent is enrolled: sallyport agents enrol --site NAME makes a token for one",
      );
    },
  );
  withGateway(command.command("enrol").description("Make a one-time token with which one agent enrols."))
    .requiredOption("--site <name>", "the site that the agent belongs to")
    .option("--target <name...>", "let it serve these targets only")
    .option("--ttl <seconds>", "how long the token is good; default a day", wholeNumber(60, 7 * 24 * 3600))
    .option("--bootstrap", "with SALLYPORT_BOOTSTRAP_SECRET, while no bundle is active")
    .action(async (options: EnrolOptions) => {
      const body = {
        site: options.site,
        ...(options.target === undefined ? {} : { targets: options.target }),
        ...(options.ttl === undefined ? {} : { ttl_s: options.ttl }),
      };
      const path = "/v1/agents/enrolment-tokens";
      const answer =
        options.bootstrap === true
          ? await bootstrapRequest(options.gateway, path, EnrolmentTokenAnswer, body)
          : await connectGateway(options).request(path, EnrolmentTokenAnswer, { method: "POST", body });
      if (options.json === true) return json(answer);
      // The token alone on stdout: it is meant to be captured.
      out(answer.token);
      return note(`for one agent of site ${answer.site}, until ${when(answer.expires_at)}: enrolment_token: env:… in its agent.yaml`);
    });
  withGateway(command.command("revoke").description("Revoke an agent's key: it is disconnected at once."))
    .argument("<agent>", "its id, agt_…")
    .action(async (agent: string, options: GatewayOptions) => {
      const answer = await connectGateway(options).request(`/v1/agents/${encodeURIComponent(agent)}`, z.looseObject({}), {
        method: "DELETE",
      });
      if (options.json === true) return json(answer);
      return out(`${agent} is revoked`);
    });
}
