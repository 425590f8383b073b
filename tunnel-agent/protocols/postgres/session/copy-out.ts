/**
 * COPY … TO STDOUT, seen from the target's side: how its data are masked follows from the statement alone, since copy data
 * carry neither names nor types nor origins (PG-20). What is not masked passes in slices; its first lines may be recorded.
 */
import type { Result } from "../../../../protocol/result.ts";
import { writeRaw } from "../codec/backend.ts";
import type { Verdict } from "../codec/framing.ts";
import { B } from "../codec/types.ts";
import type { Core } from "./core.ts";
import { ResultRecord, type RecordedColumn } from "./record-results.ts";
import { disagreed, type Output } from "./results.ts";
import type { RunningNow } from "./running.ts";

export interface CopyMasker {
  push(data: Buffer): Result<readonly Buffer[], string>;
  end(): Result<readonly Buffer[], string>;
}

/** `format`: 0 text, 1 binary. False: nothing of it must pass, and the conversation is over. */
export function beginCopyOut(core: Core, run: RunningNow, format: number, columns: number): boolean {
  if (run.masking !== null) {
    const plan = core.plans.copy(run.done, run.masking, columns, format !== 0);
    if (!plan.ok) {
      disagreed(core, plan.error);
      return false;
    }
    if (plan.value !== null) {
      disagreed(core, "it is not certain how the copy data are written");
      return false;
    }
  }
  const { session, recordResults } = core.options;
  const column: RecordedColumn = { name: "COPY", typeOid: 0, format };
  const place = { command: run.command.number, result: run.done };
  const record = recordResults === "none" ? null : new ResultRecord(recordResults, place, () => [column], session);
  const output: Output = { rows: null, copy: null, record };
  run.output = output;
  return true;
}

/** One whole CopyData. Null: it is malformed. */
export function onCopyOutData(core: Core, run: RunningNow, data: Buffer): Verdict | null {
  const { output } = run;
  if (output === null) return null;
  if (output.copy === null) {
    recordCopy(output, data);
    return "pass";
  }
  const masked = output.copy.push(data);
  if (!masked.ok) return null;
  sayCopy(core, output, masked.value);
  return "drop";
}

/** CopyDone. False: what came before it is not whole. */
export function onCopyOutDone(core: Core, run: RunningNow): boolean {
  const { output } = run;
  if (output === null || output.copy === null) return true;
  const rest = output.copy.end();
  if (!rest.ok) return false;
  sayCopy(core, output, rest.value);
  return true;
}

function sayCopy(core: Core, output: Output, pieces: readonly Buffer[]): void {
  for (const piece of pieces) {
    recordCopy(output, piece);
    core.say((writer) => writeRaw(writer, B.CopyData, piece));
  }
}

function recordCopy(output: Output, data: Buffer): void {
  const { record } = output;
  if (record === null) return;
  if (!(data.length <= record.most ? record.copy(data) : record.skip(data.length))) output.record = null;
}
