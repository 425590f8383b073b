/** The demo's voice: numbered steps, what ran, what came back, and the verdict. Plain when stdout is not a terminal. */
const colour = process.stdout.isTTY && process.env["NO_COLOR"] === undefined;
const paint = (code: string) => (text: string) => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
export const bold = paint("1");
export const dim = paint("2");
const green = paint("32");
const red = paint("31");

let step = 0;

export function heading(text: string): void {
  step += 1;
  process.stdout.write(`\n${bold(`${step}. ${text}`)}\n`);
}

export const say = (text: string): void => void process.stdout.write(`   ${text}\n`);
export const command = (text: string): void => void process.stdout.write(`   ${dim("$")} ${text}\n`);
export const output = (text: string): void => {
  for (const line of text.replace(/\n+$/, "").split("\n")) process.stdout.write(`   ${dim("│")} ${line}\n`);
};
export const good = (text: string): void => void process.stdout.write(`   ${green("✔")} ${text}\n`);
export const bad = (text: string): void => void process.stderr.write(`   ${red("✘")} ${text}\n`);

/** A step did not go as told. */
export class StepFailed extends Error {
  override name = "StepFailed";
  constructor(message: string) {
    super(`step ${step}: ${message}`);
  }
}
