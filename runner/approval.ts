/**
 * An approval as an approver reads it on a terminal: everything that gives the command its meaning, whole, with whatever
 * a terminal would act on or hide shown as escapes (GW-13). What is printed is what was hashed: the digest is computed here
 * again, from the very values that are shown.
 */
import { createHash } from "node:crypto";
import { approvalDigestText, type Approval, type ApprovalParameter } from "../protocol/approval.ts";
import { warningsOf } from "../protocol/visible.ts";
import { CommandFailed, EXIT } from "./exit.ts";
import { plain, plainLines, when } from "./print.ts";

/** @throws CommandFailed when the gateway shows another command than the one that it would have people vote on. */
export function checkDigest({ approval, subject, digest }: Approval): void {
  const computed = createHash("sha256").update(approvalDigestText(subject)).digest("hex");
  if (computed === digest) return;
  throw new CommandFailed(
    EXIT.protocol,
    `${approval}: the digest is not that of the command shown: do not vote on it, and tell whoever runs the gateway`,
  );
}

const parameterOf = (value: ApprovalParameter): string =>
  value === null ? "NULL" : typeof value === "string" ? plain(JSON.stringify(value)) : `\\x${value.hex}`;

function statementLines({ subject }: Approval): string[] {
  const { statements } = subject;
  return statements.flatMap(({ text, parameters }, index) => [
    statements.length === 1 ? "command:" : `statement ${index + 1} of ${statements.length}:`,
    ...plainLines(text)
      .split("\n")
      .map((line) => `  | ${line}`),
    ...(parameters ?? []).map((value, at) => `  $${at + 1} = ${parameterOf(value)}`),
  ]);
}

function warningLines(approval: Approval): string[] {
  const texts = approval.subject.statements.flatMap(({ text, parameters }) => [
    text,
    ...(parameters ?? []).filter((value) => typeof value === "string"),
  ]);
  const warnings = new Set(texts.flatMap((text) => warningsOf(text)));
  if (approval.in_transaction) warnings.add("The session holds locks while it waits: others may be waiting for them.");
  if (approval.mode === "later") warnings.add("It was refused for now: after approval the pipeline may run it once, in a new run.");
  return [...warnings].map((warning) => `warning:   ${warning}`);
}

const stateLine = ({ state, outcome, used_at, used_by, consent_of }: Approval): string =>
  [
    state,
    outcome === undefined ? "" : `${when(outcome.at)}${outcome.by.length === 0 ? "" : ` by ${outcome.by.join(", ")}`}`,
    outcome?.reason === undefined ? "" : `(${outcome.reason})`,
    consent_of === undefined ? "" : `on the consent given to ${consent_of}`,
    used_at === undefined ? "" : `used ${when(used_at)} by ${used_by ?? "–"}`,
  ]
    .filter((part) => part !== "")
    .join(" ");

/** All of it, several lines. */
export function describeApproval(approval: Approval): string {
  const { workload, subject, effects, needs, votes, notices } = approval;
  const facts: readonly (readonly [string, string])[] = [
    ["approval", approval.approval],
    ["state", stateLine(approval)],
    ["identity", approval.identity],
    ["target", `${subject.target} (${subject.protocol}, site ${approval.site})`],
    [
      "pipeline",
      [workload.pipeline ?? workload.repository ?? workload.subject, workload.ref].filter((part) => part !== undefined).join(" "),
    ],
    ["run", [workload.run_id, workload.run_attempt, workload.run_url].filter((part) => part !== undefined).join(" ") || "–"],
    ["actor", workload.actor ?? "–"],
    ["session", `${approval.session}${approval.command === undefined ? "" : `, command ${approval.command}`}`],
    ...Object.entries(subject.environment),
    ["would", effects.map(({ action, resource }) => `${action} ${resource}`).join(", ") || "–"],
    ["held by", `${approval.policies.join(", ")}: ${approval.reason}`],
    ["needs", needs.map(({ group, min }) => `${min} of ${group}`).join(", ")],
    ["asked", when(approval.requested_at)],
    ["votes until", when(approval.expires_at)],
    ["digest", approval.digest],
  ];
  const objects = subject.objects.map(({ name, definition }) => `  ${plain(name)} ${definition}`);
  return [
    ...facts.map(([name, value]) => `${`${plain(name)}:`.padEnd(12)} ${plain(value)}`),
    ...warningLines(approval),
    "",
    ...statementLines(approval),
    ...(objects.length === 0 ? [] : ["", "as long as these are defined so:", ...objects]),
    ...(approval.estimate === undefined
      ? []
      : [
          "",
          "the target's estimate:",
          ...plainLines(approval.estimate)
            .split("\n")
            .map((line) => `  ${line}`),
        ]),
    ...(votes.length === 0 ? [] : ["", "votes:"]),
    ...votes.map(
      ({ at, voter, door, vote, reason, refused }) =>
        `  ${when(at)} ${plain(voter)} ${vote} (${door})${reason === undefined ? "" : `: ${plain(reason)}`}${refused === undefined ? "" : ` – does not count: ${refused}`}`,
    ),
    ...(approval.refused_votes_not_kept === 0
      ? []
      : [`  and ${approval.refused_votes_not_kept} refused attempts more (sallyport refusals)`]),
    ...(notices.length === 0 ? [] : ["", "told:"]),
    ...notices.map(
      ({ channel, event, state, attempts, error }) =>
        `  ${plain(channel)} ${event}: ${state}${attempts > 1 ? ` after ${attempts} attempts` : ""}${error === undefined ? "" : ` (${plain(error)})`}`,
    ),
  ].join("\n");
}
