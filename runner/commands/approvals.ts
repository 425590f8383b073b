/** `sallyport approvals list|show|approve|deny` */
import { createInterface } from "node:readline/promises";
import { Option, type Command } from "commander";
import { Approval, ApprovalState } from "../../protocol/approval.ts";
import { ApprovalRow, page, VoteAnswer, type VoteRequest } from "../../protocol/api.ts";
import { checkDigest, describeApproval } from "../approval.ts";
import { CommandFailed, EXIT } from "../exit.ts";
import type { GatewayClient } from "../gateway.ts";
import { connectGateway, pastTime, withGateway, withPage, type GatewayOptions, type PageOptions } from "../options.ts";
import { cut, json, listing, out, when } from "../print.ts";

interface ListOptions extends GatewayOptions, PageOptions {
  readonly state?: string;
  readonly identity?: string;
  readonly target?: string;
  readonly session?: string;
  readonly since?: number;
  readonly until?: number;
}

interface VoteOptions extends GatewayOptions {
  readonly reason?: string;
  readonly yes?: boolean;
  readonly digest?: string;
}

const path = (id: string, rest = ""): string => `/v1/approvals/${encodeURIComponent(id)}${rest}`;

export function declare(command: Command): void {
  withPage(withGateway(command.command("list").description("Approvals that you asked for or may decide, newest first.")))
    .addOption(new Option("--state <state>", "in one state").choices(ApprovalState.options))
    .option("--identity <name>", "asked for by one identity")
    .option("--target <name>", "on one target")
    .option("--session <id>", "of one session")
    .option("--since <time>", "from a time on: 2026-11-22T08:00Z, or 2h ago as 2h", pastTime)
    .option("--until <time>", "before a time", pastTime)
    .action(list);
  withGateway(command.command("show").description("One approval: the whole command, who asks, who voted."))
    .argument("<id>")
    .action(async (id: string, options: GatewayOptions) => {
      const approval = await connectGateway(options).request(path(id), Approval);
      if (options.json === true) return json(approval);
      checkDigest(approval);
      return out(describeApproval(approval));
    });
  for (const vote of ["approve", "deny"] as const) {
    withGateway(command.command(vote).description(vote === "approve" ? "Consent to the command as it is shown." : "Refuse the command."))
      .argument("<id>")
      .option("--reason <text>", vote === "deny" ? "for the job and for the record" : "for the record")
      .option("--digest <sha256>", "vote only if the command still has this digest")
      .option("--yes", "do not ask back")
      .addHelpText(
        "after",
        "\nYou vote as the human whose token the environment holds (SALLYPORT_TOKEN, SALLYPORT_TOKEN_FILE): docs/approvals.md says how to get one.\nExit status: 0 the vote counts, 77 it does not, 1 the approval has ended or does not exist.",
      )
      .action((id: string, options: VoteOptions) => cast(id, vote, options));
  }
}

async function list(options: ListOptions): Promise<void> {
  const { state, identity, target, session, since, until, limit, cursor } = options;
  const query = { state, identity, target, session, since, until, limit, cursor };
  const rows = await connectGateway(options).request("/v1/approvals", page(ApprovalRow), { query });
  listing(
    rows,
    options.json === true,
    ["APPROVAL", "ASKED", "STATE", "IDENTITY", "TARGET", "GROUPS", "UNTIL", "BY", "REASON"],
    (row) => [
      row.id,
      when(row.requested_at),
      row.used_at === null ? row.state : `${row.state}, used`,
      row.identity,
      row.target,
      row.groups.join(" "),
      when(row.expires_at),
      row.by.join(" ") || "–",
      cut(row.reason ?? "–", 80),
    ],
    "no approval fits",
  );
}

async function cast(id: string, vote: VoteRequest["vote"], options: VoteOptions): Promise<void> {
  const gateway = connectGateway(options);
  const approval = await gateway.request(path(id), Approval);
  checkDigest(approval);
  if (options.digest !== undefined && options.digest !== approval.digest) {
    throw new CommandFailed(EXIT.failed, `${id} is for another command: its digest is ${approval.digest}`);
  }
  // Nobody is asked about what is over: the vote goes in all the same, so that it is on record, and is refused.
  if (options.yes !== true && approval.state === "pending" && !(await confirmed(approval, vote))) {
    throw new CommandFailed(EXIT.failed, "not voted");
  }
  const answer = await send(gateway, approval, vote, options.reason);
  if (options.json === true) return json(answer);
  const missing = answer.needs.map(({ group, missing }) => `${missing} more of ${group}`).join(", ");
  return out(answer.state === "pending" ? `${id}: your vote counts; still needed: ${missing}` : `${id} is ${answer.state}`);
}

/** The vote is bound to the command that was shown. */
function send(
  gateway: GatewayClient,
  { approval, digest }: Approval,
  vote: VoteRequest["vote"],
  reason: string | undefined,
): Promise<VoteAnswer> {
  const body: VoteRequest = { vote, digest, ...(reason === undefined ? {} : { reason }) };
  return gateway.request(path(approval, "/votes"), VoteAnswer, { method: "POST", body });
}

/** Shows the whole and asks. @throws CommandFailed where nobody can be asked */
async function confirmed(approval: Approval, vote: VoteRequest["vote"]): Promise<boolean> {
  if (!process.stdin.isTTY)
    throw new CommandFailed(EXIT.usage, `nobody can be asked here: look at sallyport approvals show ${approval.approval}, then add --yes`);
  process.stderr.write(`${describeApproval(approval)}\n\n`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await terminal.question(`${vote === "approve" ? "Approve" : "Deny"} this? [y/N] `)).trim());
  } finally {
    terminal.close();
  }
}
