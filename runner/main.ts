#!/usr/bin/env node
/**
 * The `sallyport` command: finds the command in the table, loads it, runs it, and turns what it throws into a message
 * on stderr and an exit status. Nothing here prints a token or a password.
 */
import { Command, CommanderError } from "commander";
import { COMMANDS, type CommandEntry } from "./commands.ts";
import { CommandFailed, EXIT } from "./exit.ts";
import { versionOf } from "./version.ts";

const fail = (message: string, status: number): never => {
  process.stderr.write(`sallyport: ${message}\n`);
  process.exit(status);
};

function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length)) + 2;
  const groups = [...new Set(COMMANDS.map(({ group }) => group))];
  const listed = groups.map((group) => {
    const lines = COMMANDS.filter((entry) => entry.group === group).map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`);
    return `${group}\n${lines.join("\n")}`;
  });
  return `sallyport: databases for CI jobs, without secrets

usage: sallyport COMMAND [OPTION…]

${listed.join("\n\n")}

Options
  --version     the version
  --help        this, or with a command its own help

Examples
  sallyport run orders-db -- psql -c 'select count(*) from orders'
  sallyport can orders-db pg:delete public.orders
  sallyport sessions search 'drop table'

Environment
  SALLYPORT_GATEWAY     the gateway's address
  SALLYPORT_TOKEN       the job's OIDC token, where no CI system is recognised (also SALLYPORT_TOKEN_FILE)
  SALLYPORT_AUDIENCE    the audience to ask the CI system for; default the gateway's address
`;
}

async function run(entry: CommandEntry, args: readonly string[]): Promise<void> {
  const command = new Command(`sallyport ${entry.name}`).description(`${entry.summary[0]?.toUpperCase()}${entry.summary.slice(1)}.`);
  command
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`sallyport ${entry.name}: ${text.replace(/^error: /, "")}`) });
  (await entry.load()).declare(command);
  for (const nested of command.commands) nested.exitOverride().copyInheritedSettings(command);
  await command.parseAsync([...args], { from: "user" });
}

const [name, ...args] = process.argv.slice(2);
if (name === undefined || name === "--help" || name === "-h" || name === "help") {
  process.stdout.write(overview());
  process.exit(name === undefined ? EXIT.usage : EXIT.ok);
}
if (name === "--version" || name === "-V") {
  process.stdout.write(`${versionOf()}\n`);
  process.exit(EXIT.ok);
}
const entry = COMMANDS.find((candidate) => candidate.name === name);
if (entry === undefined) fail(`there is no command ${JSON.stringify(name)}; sallyport --help lists them`, EXIT.usage);
else {
  try {
    await run(entry, args);
  } catch (error) {
    if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.usage);
    if (error instanceof CommandFailed) fail(error.message, error.status);
    fail(`an unexpected fault: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`, EXIT.software);
  }
}
