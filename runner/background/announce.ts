/**
 * How later steps of a job learn of the environment: GitHub's file, lines for a shell to evaluate, or JSON. Pure but for
 * the random delimiter, which is an argument.
 */
import type { TargetAddress } from "../tunnel/target.ts";
import { environmentOf } from "../tunnel/environment.ts";

/** For $GITHUB_ENV: multi-line form with a delimiter that nobody can know, so that no value can add a variable. */
export const githubEnvironment = (variables: Readonly<Record<string, string>>, delimiter: string): string =>
  Object.entries(variables)
    .map(([name, value]) => `${name}<<${delimiter}\n${value}\n${delimiter}\n`)
    .join("");

/**
 * GitHub prints the environment of every later step at its head, so each run's password is masked first. The command
 * must be printed to be heard; the runner swallows the line.
 */
export const githubMasks = (addresses: readonly TargetAddress[]): string =>
  addresses.map(({ password }) => `::add-mask::${password}\n`).join("");

/** For `eval "$(sallyport up …)"` in a POSIX shell. */
export const shellExports = (variables: Readonly<Record<string, string>>): string =>
  Object.entries(variables)
    .map(([name, value]) => `export ${name}='${value.replaceAll("'", `'\\''`)}'\n`)
    .join("");

export const asJson = (addresses: readonly TargetAddress[]): string =>
  `${JSON.stringify({ targets: addresses, env: environmentOf(addresses) }, null, 2)}\n`;
