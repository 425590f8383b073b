/** `sallyport sessions list|search|show|replay|verify|export|kill` */
import type { Command } from "commander";
import { Option } from "commander";
import { CommandRow, KillAnswer, page, SessionRow } from "../../protocol/api.ts";
import { connectGateway, filterQuery, withFilters, withGateway, type FilterOptions, type GatewayOptions } from "../options.ts";
import { cut, json, listing, out, plain, plainLines, when } from "../print.ts";

type ListOptions = GatewayOptions & FilterOptions & { readonly site?: string; readonly state?: string; readonly session?: string };

const sessionPath = (id: string, rest = ""): string => `/v1/sessions/${encodeURIComponent(id)}${rest}`;

export function declare(command: Command): void {
  withFilters(withGateway(command.command("list").description("Sessions, newest first.")))
    .option("--site <name>", "of one site")
    .addOption(new Option("--state <state>", "in one state").choices(["opening", "active", "ended"]))
    .action(list);
  withFilters(withGateway(command.command("search").description("Commands whose text has all of the words, newest first.")))
    .argument("[words...]", "words to find; none: all commands")
    .option("--session <id>", "of one session")
    .addHelpText(
      "after",
      "\nExamples:\n  sallyport sessions search drop table --since 7d\n  sallyport sessions search --decision deny --identity orders-ci --json",
    )
    .action(search);
  withGateway(command.command("show").description("One session.")).argument("<id>").option("--commands", "with its commands").action(show);
  withGateway(command.command("replay").description("What the session did, in order, as a transcript."))
    .argument("<id>")
    .action(async (id: string, options: GatewayOptions) => {
      const { replay } = await import("../recording.ts");
      await replay(connectGateway(options), id, options.json === true);
    });
  withGateway(
    command.command("verify").description("Check a recording: every event there, unaltered, in order, sealed with the agent's key."),
  )
    .argument("[id]", "the session; or none with --file and --key")
    .option("--file <path>", "an exported recording, checked offline")
    .option("--key <key...>", "AGENT=PUBLIC_KEY to check against (sallyport agents list --json shows them)")
    .addHelpText(
      "after",
      "\nExit status: 0 whole and sealed, 1 not.\n\nExamples:\n  sallyport sessions verify ses_…\n  sallyport sessions verify --file ses_….ndjson --key agt_…=…",
    )
    .action(async (id: string | undefined, options: GatewayOptions & { readonly file?: string; readonly key?: string[] }) => {
      const { verify } = await import("../recording.ts");
      process.exitCode = await verify(options.file === undefined ? connectGateway(options) : undefined, {
        id,
        file: options.file,
        keys: options.key ?? [],
        json: options.json === true,
      });
    });
  withGateway(command.command("export").description("The recording as it is stored: NDJSON, one event a line."))
    .argument("<id>")
    .option("-o, --output <file>", "write to a file instead of stdout")
    .action(async (id: string, options: GatewayOptions & { readonly output?: string }) => {
      const { exportRecording } = await import("../recording.ts");
      await exportRecording(connectGateway(options), id, options.output);
    });
  withGateway(command.command("kill").description("End a live session within a second."))
    .argument("<id>")
    .option("--reason <text>", "for the record and for the client")
    .action(kill);
}

async function list(options: ListOptions): Promise<void> {
  const query = { ...filterQuery(options), site: options.site, state: options.state };
  const rows = await connectGateway(options).request("/v1/sessions", page(SessionRow), { query });
  listing(
    rows,
    options.json === true,
    ["SESSION", "STARTED", "STATE", "IDENTITY", "TARGET", "COMMANDS", "DENIED", "SEALED", "PIPELINE"],
    (row) => [
      row.id,
      when(row.started_at),
      row.state,
      row.identity,
      row.target,
      String(row.commands),
      String(row.denied),
      row.sealed ? "yes" : "no",
      row.workload.pipeline ?? row.workload.repository ?? "–",
    ],
    "no session fits",
  );
}

async function search(words: readonly string[], options: ListOptions): Promise<void> {
  const query = { ...filterQuery(options), session: options.session, q: words.length === 0 ? undefined : words.join(" ") };
  const rows = await connectGateway(options).request("/v1/commands", page(CommandRow), { query });
  listing(
    rows,
    options.json === true,
    ["WHEN", "DECISION", "IDENTITY", "TARGET", "PIPELINE", "SESSION", "POLICY", "COMMAND"],
    (row) => [
      when(row.at),
      row.decision,
      row.identity,
      row.target,
      row.pipeline ?? "–",
      row.session,
      row.policies.join(" ") || "–",
      cut(row.text, 120),
    ],
    "no command fits",
  );
}

async function show(id: string, options: GatewayOptions & { readonly commands?: boolean }): Promise<void> {
  const gateway = connectGateway(options);
  const session = await gateway.request(sessionPath(id), SessionRow);
  const commands = options.commands === true ? (await gateway.request(sessionPath(id, "/commands"), page(CommandRow))).rows : undefined;
  if (options.json === true) return json(commands === undefined ? session : { ...session, commands });
  const { workload } = session;
  const lines: readonly (readonly [string, string])[] = [
    ["session", session.id],
    ["identity", session.identity],
    ["target", `${session.target} (${session.protocol}, site ${session.site})`],
    ["state", session.state],
    ["started", when(session.started_at)],
    ["ended", session.ended_at === null ? "–" : `${when(session.ended_at)}: ${session.end_message ?? ""} [${session.end_code ?? ""}]`],
    ["deadline", when(session.deadline)],
    ["commands", `${session.commands}, of them ${session.denied} denied`],
    ["recording", session.sealed ? "sealed" : "not sealed"],
    ["bundle", String(session.bundle)],
    ["pipeline", workload.pipeline ?? workload.repository ?? "–"],
    ["run", [workload.run_id, workload.run_attempt, workload.run_url].filter((part) => part !== undefined).join(" ") || "–"],
    ["actor", workload.actor ?? "–"],
  ];
  for (const [name, value] of lines) out(`${name.padEnd(10)} ${plain(value)}`);
  for (const row of commands?.toReversed() ?? [])
    out(`\n${when(row.at)} ${row.decision} ${row.policies.join(" ")} ${row.status ?? ""}\n${plainLines(row.text)}`);
}

async function kill(id: string, options: GatewayOptions & { readonly reason?: string }): Promise<void> {
  const body = options.reason === undefined ? {} : { reason: options.reason };
  const answer = await connectGateway(options).request(sessionPath(id, "/kill"), KillAnswer, { method: "POST", body });
  if (options.json === true) return json(answer);
  return out(answer.ended ? `${answer.session} is ended` : `${answer.session} had ended before`);
}
