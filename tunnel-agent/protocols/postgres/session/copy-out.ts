/**
 * COPY … TO STDOUT, seen from the target's side: how its data are masked follows from the statement alone, since copy data
 * carry neither names nor types nor origins (PG-20). What is not masked passes in slices; its first lines may be recorded.
 */
import { MAX_MASKED_ROW_BYTES } from "../../../../protocol/limits.ts";
import { writeRaw } from "../codec/backend.ts";
import type { Verdict } from "../codec/framing.ts";
import { B } from "../codec/types.ts";
import { createCopyMasker, type CopyMasker } from "../masking/copy.ts";
import type { ColumnPlan } from "../masking/types.ts";
import type { CopyFormat } from "../sql/types.ts";
import type { Core } from "./core.ts";
import { beginRecord, disagreed, type Output } from "./results.ts";
import type { RunningNow } from "./running.ts";

/**
 * `format`: 0 text, 1 binary, and `columns`, as the target says; `written`: as the statement does. False: nothing of it must
 * pass, and the conversation is over.
 */
export function beginCopyOut(core: Core, run: RunningNow, format: number, columns: number, written: CopyFormat | undefined): boolean {
  let copy: CopyMasker | null = null;
  if (run.masking !== null) {
    const plan = core.plans.copy(run.done, run.masking, columns, format !== 0);
    if (!plan.ok) {
      disagreed(core, plan.error);
      return false;
    }
    if (plan.value !== null) {
      copy = maskerOf(core, plan.value, written);
      if (copy === null) {
        disagreed(core, "it is not certain how the copy data are written");
        return false;
      }
    }
  }
  run.output = { rows: null, copy, record: beginRecord(core, run, () => [{ name: "COPY", typeOid: 0, format }]) };
  return true;
}

function maskerOf(core: Core, plan: ColumnPlan, written: CopyFormat | undefined): CopyMasker | null {
  if (written === undefined || written.format === "binary") return null;
  const { format } = written;
  const { key, counts } = core.plans;
  const made = createCopyMasker({ ...written, format, plan, key, counts, maxRow: MAX_MASKED_ROW_BYTES });
  return made.ok ? made.value : null;
}

/** One whole CopyData. Null: it is malformed. */
export function onCopyOutData(core: Core, run: RunningNow, data: Buffer): Verdict | null {
  const { output } = run;
  if (output === null) return null;
  if (output.copy === null) {
    recordCopy(output, data);
    return "pass";
  }
  if (output.record === null) {
    core.sayMasked(output.copy);
    return output.copy.append(data).ok ? "drop" : null;
  }
  const masked = output.copy.push(data);
  if (!masked.ok) return null;
  for (const piece of masked.value) {
    recordCopy(output, piece);
    core.say((writer) => writeRaw(writer, B.CopyData, piece));
  }
  return "drop";
}

/** CopyDone. False: what came before it is not whole. */
export function onCopyOutDone(run: RunningNow): boolean {
  const copy = run.output?.copy ?? null;
  return copy === null || copy.end().ok;
}

function recordCopy(output: Output, data: Buffer): void {
  const { record } = output;
  if (record === null) return;
  if (!(data.length <= record.most ? record.copy(data) : record.skip(data.length))) output.record = null;
}
