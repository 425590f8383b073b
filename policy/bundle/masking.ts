/**
 * masking.yaml: data classes by name, with the columns they cover. Its shape is checked so that a slip is found when
 * it is written; no decision reads it. A bundle that declares classes carries a warning that says so, since a rule
 * that nobody enforces must not look like protection (GW-19).
 */
import * as z from "zod";
import { problem } from "../problem.ts";
import type { Problem } from "../types.ts";
import { list, mapping, name, text } from "./fields.ts";
import { shaped, type YamlDocument } from "./yaml.ts";

const DataClass = mapping({
  columns: list(text("a column as target/schema.table.column", 256), "columns as target/schema.table.column", 500).optional(),
  detectors: list(name("a detector's name"), "a detector's name or a list of them", 32).optional(),
  description: text("a sentence about this class", 500).optional(),
});

const Masking = mapping({
  classes: z.record(name("a data class's name, such as email"), DataClass, {
    error: "write data classes as `name:` with columns: or detectors: under it",
  }),
});

export function checkMasking(file: string, document: YamlDocument, problems: Problem[]): void {
  const masking = shaped(file, document, Masking, problems);
  if (masking === undefined || Object.keys(masking.classes).length === 0) return;
  const message =
    "these classes are checked for their form only: result columns are not masked by them; keep such columns from the agent's login at the target";
  problems.push(problem("warning", "masking-unenforced", file, message, document.locateKey(["classes"])));
}
