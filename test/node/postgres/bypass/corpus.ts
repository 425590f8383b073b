/** The corpus of test/vectors/postgres/bypass as data; its README.md says what the words mean. */
import { readdirSync, readFileSync } from "node:fs";
import { parse } from "yaml";

export type Step =
  | string
  | {
      readonly extended: string;
      readonly params?: readonly (string | null)[];
      readonly binary?: boolean;
      readonly describe?: boolean;
      readonly rows?: number;
    }
  | { readonly parse: string; readonly name: string }
  | { readonly bind: string; readonly portal: string; readonly params?: readonly (string | null)[]; readonly binary?: boolean }
  | { readonly describe: string }
  | { readonly execute: string; readonly rows?: number }
  | { readonly sync: true }
  | { readonly direct: string };

export interface Attempt {
  readonly title: string;
  readonly steps: readonly Step[];
  /** One for each step that is answered. */
  readonly expected: readonly string[];
}

export interface AttackClass {
  readonly file: string;
  readonly name: string;
  readonly hazard: string;
  readonly attempts: readonly Attempt[];
}

export const DIRECTORY = new URL("../../../vectors/postgres/bypass/", import.meta.url);

export const textOf = (name: string): string => readFileSync(new URL(name, DIRECTORY), "utf8");

type Written = [string, string] | [Step[], string[]];

const titleOf = (steps: readonly Step[]): string =>
  steps.map((step) => (typeof step === "string" ? step : JSON.stringify(step))).join(" ⏎ ");

export const corpus: readonly AttackClass[] = readdirSync(DIRECTORY)
  .filter((name) => name.endsWith(".yaml") && name !== "masking.yaml")
  .map((file) => {
    const written = parse(textOf(file)) as { class: string; hazard: string; cases: Written[] };
    const attempts = written.cases.map(([steps, expected]): Attempt => {
      const all = typeof steps === "string" ? [steps] : steps;
      return { title: titleOf(all), steps: all, expected: typeof expected === "string" ? [expected] : expected };
    });
    return { file, name: written.class, hazard: written.hazard, attempts };
  });

/** Whether a step's answer ends in a ReadyForQuery of its own. */
export const isAnswered = (step: Step): boolean => typeof step === "string" || "extended" in step || "sync" in step;

/** Whether an attempt may change the database, so that the next one needs another. */
export const mayChange = ({ steps }: Attempt): boolean =>
  steps.some((step) => {
    const text =
      typeof step === "string"
        ? step
        : "extended" in step
          ? step.extended
          : "parse" in step
            ? step.parse
            : "direct" in step
              ? "alter"
              : "select";
    return (
      !/^\W*(select|table|values|copy app|copy \(select|explain (?!analyze update)|show|fetch|execute|prepare|with (?!w as \((?:insert|update)))/i.test(
        text,
      ) || /\binto\b/i.test(text)
    );
  });
