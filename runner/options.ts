/** Options that commands share, and the client that they lead to. */
import { InvalidArgumentError, Option, type Command } from "commander";
import { gatewayAddress, openGateway, type GatewayClient } from "./gateway.ts";

export interface GatewayOptions {
  readonly gateway?: string;
  readonly json?: boolean;
}

export const withGateway = (command: Command): Command =>
  command
    .addOption(new Option("--gateway <url>", "the gateway's address").env("SALLYPORT_GATEWAY"))
    .option("--json", "machine-readable output");

export const connectGateway = (options: GatewayOptions): GatewayClient =>
  openGateway(gatewayAddress(options.gateway, process.env), process.env);

/** Of the commands that open targets: what they say goes to stderr. */
export interface TunnelOptions extends GatewayOptions {
  readonly quiet?: boolean;
}

export const withTunnel = (command: Command): Command =>
  command
    .addOption(new Option("--gateway <url>", "the gateway's address").env("SALLYPORT_GATEWAY"))
    .option("--quiet", "say nothing unless something is wrong")
    .option("--json", "messages on stderr as JSON, one a line");

/** A whole number within bounds, for commander. */
export const wholeNumber =
  (min: number, max: number) =>
  (text: string): number => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`write a whole number from ${min} to ${max}`);
  };

/** `2h`, `30m`, `7d` ago, or an ISO date → ms since the epoch. */
export function pastTime(text: string): number {
  const ago = /^(\d{1,6})(s|m|h|d)$/.exec(text);
  if (ago !== null) return Date.now() - Number(ago[1]) * { s: 1e3, m: 6e4, h: 36e5, d: 864e5 }[ago[2] as "s" | "m" | "h" | "d"];
  const at = Date.parse(text);
  if (Number.isNaN(at)) throw new InvalidArgumentError("write a time such as 2026-11-22T08:00Z, or how long ago: 30m, 2h, 7d");
  return at;
}

export interface PageOptions {
  readonly limit?: number;
  readonly cursor?: string;
}

export const withPage = (command: Command): Command =>
  command.option("--limit <n>", "rows at most", wholeNumber(1, 200)).option("--cursor <cursor>", "go on after an earlier page");

export interface FilterOptions extends PageOptions {
  readonly identity?: string;
  readonly pipeline?: string;
  readonly run?: string;
  readonly job?: string;
  readonly target?: string;
  readonly action?: string;
  readonly decision?: string;
  readonly since?: number;
  readonly until?: number;
}

export const withFilters = (command: Command): Command =>
  withPage(
    command
      .option("--identity <name>", "of one identity")
      .option("--pipeline <name>", "of one pipeline, such as shop/orders: deploy")
      .option("--run <id>", "of one pipeline run")
      .option("--job <id>", "of one job")
      .option("--target <name>", "on one target")
      .option("--action <action>", "that needed an action, such as pg:delete")
      .addOption(new Option("--decision <decision>", "that were decided so").choices(["allow", "hold", "deny"]))
      .option("--since <time>", "from a time on: 2026-11-22T08:00Z, or 2h ago as 2h", pastTime)
      .option("--until <time>", "before a time", pastTime),
  );

/** The query parameters of protocol/api.ts. */
export const filterQuery = ({ identity, pipeline, run, job, target, action, decision, since, until, limit, cursor }: FilterOptions) => ({
  identity,
  pipeline,
  run,
  job,
  target,
  action,
  decision,
  since,
  until,
  limit,
  cursor,
});
