/** `sallyport refusals`: what the edge refused, with the reason that the peer did not get. */
import type { Command } from "commander";
import { page, RefusalRow } from "../../protocol/api.ts";
import { connectGateway, pastTime, withGateway, withPage, type GatewayOptions, type PageOptions } from "../options.ts";
import { listing, when } from "../print.ts";

interface Options extends GatewayOptions, PageOptions {
  readonly ref?: string;
  readonly identity?: string;
  readonly target?: string;
  readonly code?: string;
  readonly since?: number;
  readonly until?: number;
}

export function declare(command: Command): void {
  withPage(withGateway(command))
    .option("--ref <reference>", "the reference that a refused peer was given")
    .option("--identity <name>", "of one identity")
    .option("--target <name>", "on one target")
    .option("--code <code>", "with one code of docs/errors.md")
    .option("--since <time>", "from a time on", pastTime)
    .option("--until <time>", "before a time", pastTime)
    .action(async (options: Options) => {
      const { ref, identity, target, code, since, until, limit, cursor } = options;
      const rows = await connectGateway(options).request("/v1/refusals", page(RefusalRow), {
        query: { ref, identity, target, code, since, until, limit, cursor },
      });
      listing(
        rows,
        options.json === true,
        ["WHEN", "REFERENCE", "CODE", "IDENTITY", "TARGET", "REASON"],
        (row) => [when(row.at), row.ref, row.code, row.identity ?? "–", row.target ?? "–", row.reason],
        "nothing was refused",
      );
    });
}
