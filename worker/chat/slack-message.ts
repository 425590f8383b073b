/**
 * What Slack shows of an approval, as Block Kit. The command is in `rich_text` preformatted blocks, whose text Slack takes
 * literally: no markup, mention or link can be made in it; what is invisible is shown as an escape (GW-13). All other text
 * of others is escaped for mrkdwn.
 *
 * The whole command or none of it: Slack takes 3,000 characters a block, 50 blocks, and in practice about 11,000
 * characters a message. What does not fit is not cut: the message says so, gives digest and link, and has no button to approve.
 */
import type { Approval, ApprovalParameter } from "../../protocol/approval.ts";
import { visibleLine, visibleLines, warningsOf } from "../../protocol/visible.ts";

type Block = Readonly<Record<string, unknown>>;

const BLOCK_TEXT = 3000;
/** Characters of all that is literal in one message, and blocks for it: facts and buttons need the rest. */
const LITERAL_TEXT = 7500;
const LITERAL_BLOCKS = 36;
const FACT_TEXT = 180;

export const APPROVE_ACTION = "sallyport_approve";
export const DENY_ACTION = "sallyport_deny";

/** `value` of the buttons: which approval, and which command was shown. */
export const buttonValue = ({ approval, digest }: Pick<Approval, "approval" | "digest">): string => `${approval}.${digest}`;

export function parseButtonValue(value: string): { approval: string; digest: string } | null {
  const [, approval, digest] = /^(apr_[0-9a-z]{26})\.([0-9a-f]{64})$/.exec(value) ?? [];
  return approval === undefined || digest === undefined ? null : { approval, digest };
}

/** Slack's three control characters: without them no mention, link or date is made. */
const mrkdwn = (text: string): string => visibleLine(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** A short fact as a code span; what is longer says how long it is. */
function fact(text: string): string {
  const shown = visibleLine(text).replaceAll("`", "'");
  const cut = shown.length <= FACT_TEXT ? shown : `${shown.slice(0, FACT_TEXT).toWellFormed()}… (${shown.length} characters)`;
  return `\`${cut.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")}\``;
}

const section = (text: string): Block => ({ type: "section", text: { type: "mrkdwn", text: text.slice(0, BLOCK_TEXT).toWellFormed() } });
const literal = (text: string): Block => ({
  type: "rich_text",
  elements: [{ type: "rich_text_preformatted", elements: [{ type: "text", text }] }],
});

/** Pieces of at most `size` UTF-16 units that split no character. */
export function pieces(text: string, size: number): string[] {
  const parts: string[] = [];
  for (let from = 0; from < text.length;) {
    let to = Math.min(text.length, from + size);
    const last = text.charCodeAt(to - 1);
    if (to < text.length && last >= 0xd800 && last < 0xdc00) to -= 1;
    parts.push(text.slice(from, to));
    from = to;
  }
  return parts;
}

const parameter = (value: ApprovalParameter): string =>
  value === null ? "NULL" : typeof value === "string" ? JSON.stringify(value) : `\\x${value.hex}`;

/** The command in full, as text: statements in order, each with its parameters. */
export function commandText({ subject }: Pick<Approval, "subject">): string[] {
  const many = subject.statements.length > 1;
  return subject.statements.map(({ text, parameters }, index) => {
    const head = many ? `-- statement ${index + 1} of ${subject.statements.length}\n` : "";
    const bound = (parameters ?? []).map((value, at) => `\n-- $${at + 1} = ${parameter(value)}`);
    return visibleLines(`${head}${text}${bound.join("")}`);
  });
}

/** What names in the command depend on: as much a part of it as its text. */
const environmentText = ({ subject }: Approval): string =>
  Object.entries(subject.environment)
    .map(([name, value]) => `${visibleLine(name)} = ${visibleLine(value)}`)
    .join("\n");

/** null: it does not fit. */
function literalBlocks(approval: Approval): Block[] | null {
  const texts = [environmentText(approval), ...commandText(approval)].filter((text) => text !== "");
  if (texts.reduce((sum, text) => sum + text.length, 0) > LITERAL_TEXT) return null;
  const blocks = texts.flatMap((text) => pieces(text, BLOCK_TEXT)).map(literal);
  return blocks.length > LITERAL_BLOCKS ? null : blocks;
}

function factBlocks(approval: Approval): Block[] {
  const { identity, workload, subject, needs, effects, policies, reason } = approval;
  const who = [workload.pipeline ?? workload.repository ?? workload.subject, workload.ref, workload.event].filter(
    (part) => part !== undefined,
  );
  const run = runLink(workload.run_url) ?? (workload.run_id === undefined ? "–" : fact(workload.run_id));
  const what = subject.kind === "plan" ? `a plan of ${subject.statements.length} statements` : "one command";
  return [
    section(`*${mrkdwn(identity)}* asks for ${what} on ${fact(subject.target)} (${mrkdwn(subject.protocol)})`),
    section(
      [
        `*Pipeline:* ${who.map(fact).join(" ")}`,
        `*Run:* ${run}, started by ${workload.actor === undefined ? "–" : fact(workload.actor)}`,
        `*Digest:* ${fact(approval.digest)}`,
        `*Votes until:* ${time(approval.expires_at)}`,
      ].join("\n"),
    ),
    section(
      [
        `*Would:* ${some(
          effects.map(({ action, resource }) => `${action} ${resource}`),
          6,
        )}`,
        `*Held by:* ${some(policies, 3)} ${fact(reason)}`,
      ].join("\n"),
    ),
    section(
      `*Needs:* ${some(
        needs.map(({ group, min }) => `${min} of ${group}`),
        8,
      )}`,
    ),
  ];
}

const some = (all: readonly string[], shown: number): string =>
  `${all.slice(0, shown).map(fact).join(" ")}${all.length > shown ? ` and ${all.length - shown} more` : ""}`;

const time = (at: number): string => `<!date^${Math.floor(at / 1000)}^{date_short_pretty} {time_secs}|${new Date(at).toISOString()}>`;

/** Only https, and only where nothing in it could end the link. */
function runLink(url: string | undefined): string | undefined {
  if (url === undefined || url.length > 512 || !/^https:\/\/[\w.-]+(?::\d+)?\/[\w./~%+-]*$/.test(url)) return undefined;
  return `<${url}>`;
}

function warnings(approval: Approval): string[] {
  const texts = approval.subject.statements.flatMap(({ text, parameters }) => [
    text,
    ...(parameters ?? []).filter((value) => typeof value === "string"),
  ]);
  const found = new Set(texts.flatMap((text) => warningsOf(text)));
  if (approval.in_transaction) found.add("The session holds locks while it waits: others may be waiting for them.");
  if (approval.mode === "later") found.add("It was refused for now: after approval the pipeline may run it once, in a new run.");
  return [...found];
}

export interface SlackMessage {
  /** For notifications and readers of screens. */
  readonly text: string;
  readonly blocks: readonly Block[];
}

/**
 * The message while votes are taken, and after: then with the outcome in place of the buttons. `url`: where to read on.
 * `short`: without the command, for when Slack finds the message too long all the same.
 */
export function approvalMessage(approval: Approval, url: string, short = false): SlackMessage {
  const whole = short ? null : literalBlocks(approval);
  const length = commandText(approval).reduce((sum, text) => sum + text.length, 0);
  const tooLong = `*The command is too long for Slack* (${length} characters) and nothing of it is shown here. Read the whole with \`sallyport approvals show ${approval.approval}\` and vote there: <${url}>`;
  const estimate =
    approval.estimate === undefined
      ? []
      : [section("*The target's estimate:*"), literal(pieces(visibleLines(approval.estimate), 1500)[0] ?? " ")];
  if ((approval.estimate?.length ?? 0) > 1500) estimate.push(section(`The estimate goes on: <${url}>`));
  const warned = warnings(approval).map((warning) => section(`:warning: ${warning}`));
  return {
    text: `${visibleLine(approval.identity)} asks for approval on ${visibleLine(approval.subject.target)}: ${approval.approval}`,
    blocks: [
      ...factBlocks(approval),
      ...warned,
      ...(whole ?? [section(tooLong)]),
      ...estimate,
      ...(approval.outcome === undefined ? [buttons(approval, whole !== null)] : [section(outcomeText(approval))]),
      { type: "context", elements: [{ type: "mrkdwn", text: `${approval.approval} · <${url}>` }] },
    ],
  };
}

function buttons(approval: Approval, withApprove: boolean): Block {
  const value = buttonValue(approval);
  const button = (text: string, action_id: string, style: string): Block => ({
    type: "button",
    text: { type: "plain_text", text },
    action_id,
    value,
    style,
  });
  const approve = withApprove ? [button("Approve", APPROVE_ACTION, "primary")] : [];
  return { type: "actions", block_id: "sallyport_vote", elements: [...approve, button("Deny…", DENY_ACTION, "danger")] };
}

function outcomeText({ outcome }: Approval): string {
  if (outcome === undefined) return "";
  const words = {
    approved: ":white_check_mark: *Approved*",
    denied: ":no_entry: *Denied*",
    expired: ":hourglass: *Expired*",
    withdrawn: ":wastebasket: *Withdrawn*",
  };
  const by = outcome.by.length === 0 ? "" : ` by ${outcome.by.map(fact).join(", ")}`;
  const why = outcome.reason === undefined ? "" : `: ${mrkdwn(outcome.reason.slice(0, 500))}`;
  return `${words[outcome.state]}${by}, ${time(outcome.at)}${why}`;
}

/** The modal that asks for a denial's reason. `metadata` comes back with it. */
export const denyModal = (approval: string, metadata: string): Block => ({
  type: "modal",
  callback_id: DENY_ACTION,
  private_metadata: metadata,
  title: { type: "plain_text", text: "Deny" },
  submit: { type: "plain_text", text: "Deny" },
  close: { type: "plain_text", text: "Cancel" },
  blocks: [
    { type: "context", elements: [{ type: "plain_text", text: approval }] },
    {
      type: "input",
      block_id: "reason",
      label: { type: "plain_text", text: "Why? The job and the record get these words." },
      element: { type: "plain_text_input", action_id: "reason", multiline: true, min_length: 1, max_length: 1000 },
    },
  ],
});
