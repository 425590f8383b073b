/**
 * What a result goes through on its way to the client: its rows or copy data are masked as planned, and the first of them
 * kept for the recording. A result of which nothing is masked and nothing recorded passes by unread.
 *
 * Guarantees: no row passes before its columns are known and agree with what was proven (PG-17, PG-18); where they do not,
 * the conversation ends and the catalogue is loaded anew.
 */
import { writeRaw, type FieldDescription } from "../codec/backend.ts";
import type { Handling, Verdict } from "../codec/framing.ts";
import { B } from "../codec/types.ts";
import type { Catalogue } from "../catalogue/types.ts";
import type { CopyMasker } from "../masking/copy.ts";
import { FIRST_USER_OID } from "../masking/plan.ts";
import type { RowMasker } from "../masking/rows.ts";
import type { ColumnPlan } from "../masking/types.ts";
import { notAsForeseen, unknownLayout } from "../refusal.ts";
import type { Core } from "./core.ts";
import { ResultRecord, type RecordedColumn } from "./record-results.ts";
import type { RunningNow } from "./running.ts";

export interface Output {
  /** Null: rows change in nothing. */
  readonly rows: RowMasker | null;
  /** The same of copy data. */
  readonly copy: CopyMasker | null;
  /** Null: it is not recorded, or not any more. */
  record: ResultRecord | null;
}

/** Rows of a simple Query's result are described. Null: they must not pass, and the conversation is over. */
export function describedRows(core: Core, run: RunningNow, fields: readonly FieldDescription[]): Output | null {
  return open(core, run, fields, null);
}

/** A row comes in. Null as in `describedRows`. */
export function outputOf(core: Core, run: RunningNow): Output | null {
  if (run.output !== null) return run.output;
  if (run.kind === "query") return open(core, run, null, null);
  const { fields, formats, statement } = run.portal;
  return fields === null ? open(core, run, statement.fields, formats) : open(core, run, fields, null);
}

/** `formats`: Bind's, where `fields` are not those of the portal itself. */
function open(core: Core, run: RunningNow, fields: readonly FieldDescription[] | null, formats: readonly number[] | null): Output | null {
  let plan: ColumnPlan = [];
  let rows: RowMasker | null = null;
  if (run.masking !== null) {
    if (fields === null || formats !== null) {
      core.fatal(unknownLayout);
      return null;
    }
    const made = core.plans.rows(run.kind === "execute" ? run.portal.statement : run.known, run.done, run.masking, fields);
    if (!made.ok) return disagreed(core, made.error);
    plan = made.value.plan;
    rows = made.value.masker;
  }
  const { masking, session } = core.options;
  // Where nothing is classified, a relation that the catalogue lacks is let pass, and looked at before the next statement.
  if (run.masking !== null && lacks(run.masking.catalogue, fields ?? [])) masking?.source.changed();
  run.output = { rows, copy: null, record: beginRecord(core, run, () => recordedColumns(fields, formats, plan, session.maskText)) };
  return run.output;
}

const lacks = (catalogue: Catalogue | null, fields: readonly FieldDescription[]): boolean =>
  catalogue !== null && fields.some(({ tableOid }) => tableOid >= FIRST_USER_OID && catalogue.relation(tableOid) === undefined);

/** Null: nothing of this result is recorded. */
export function beginRecord(core: Core, run: RunningNow, columns: () => readonly RecordedColumn[]): ResultRecord | null {
  const { recordResults: mode, session } = core.options;
  const { subject } = run.kind === "query" ? run.known : run.portal.statement;
  if (mode === "none" || !core.authoriser.recordable(subject, run.done)) return null;
  return new ResultRecord(mode, { command: run.command.number, result: run.done }, columns, session);
}

/** The definitions moved, or are not what the catalogue has: nothing of the result is shown, and the next statement sees anew. */
export function disagreed(core: Core, why: string): null {
  core.options.masking?.source.changed();
  core.fatal(notAsForeseen(why));
  return null;
}

function recordedColumns(
  fields: readonly FieldDescription[] | null,
  formats: readonly number[] | null,
  plan: ColumnPlan,
  maskText: (text: string) => string,
): RecordedColumn[] {
  return (fields ?? []).map(({ name, typeOid, format }, i) => {
    const entry = plan[i];
    const sent = formats === null ? format : ((formats.length === 1 ? formats[0] : formats[i]) ?? 0);
    const sensitive = entry !== undefined && entry !== null && "class" in entry ? entry.class : undefined;
    return { name: maskText(name), typeOid, format: sent, class: sensitive };
  });
}

/** Whether it has to be seen whole, whatever its size. */
export const masks = ({ rows, copy }: Output): boolean => rows !== null || copy !== null;

/** A row or copy data of `length` bytes begins: whether it has to be seen whole. */
export function handlingOf(output: Output, length: number): Handling {
  const { record } = output;
  if (masks(output)) return "assemble";
  if (record === null) return "stream";
  if (length <= record.most) return "assemble";
  if (!record.skip(length)) output.record = null;
  return "stream";
}

/** A whole, well-formed row: passes as it is, or is said masked. Null: it is malformed after all. */
export function passRow(core: Core, output: Output, body: Buffer): Verdict | null {
  const { rows, record } = output;
  if (rows === null) {
    if (record !== null && !record.row(body)) output.record = null;
    return "pass";
  }
  if (record === null) {
    core.sayMasked(rows);
    return rows.append(body) ? "drop" : null;
  }
  const masked = rows.mask(body);
  if (masked === "malformed") return null;
  if (!keep(record, masked ?? body)) output.record = null;
  if (masked === null) return "pass";
  core.say((writer) => writeRaw(writer, B.DataRow, masked));
  return "drop";
}

function keep(record: ResultRecord, body: Buffer): boolean {
  return body.length <= record.most ? record.row(body) : record.skip(body.length);
}

/** The result is over, or the client has had what it asked for of it. */
export function endOutput(core: Core, run: RunningNow): void {
  const { output } = run;
  if (output === null) return;
  run.output = null;
  output.record?.end();
  core.plans.countFor(run.command.masked);
}
