/**
 * Column plans of one session and what carries them out, made once for results that are alike: a prepared statement is
 * executed over and over. Counts what is masked.
 */
import { err, ok, type Result } from "../../../../protocol/result.ts";
import type { FieldDescription } from "../codec/backend.ts";
import { isIdle, planColumns, planCopy } from "../masking/plan.ts";
import { createRowMasker, type RowMasker } from "../masking/rows.ts";
import type { ColumnPlan, MaskCounts, MaskingVerdict } from "../masking/types.ts";
import type { SubjectMasking } from "./masking.ts";

export interface RowPlan {
  readonly plan: ColumnPlan;
  /** Null: nothing of the rows changes. */
  readonly masker: RowMasker | null;
}

interface Made extends RowPlan {
  readonly masking: SubjectMasking;
  readonly verdicts: readonly MaskingVerdict[];
  readonly fields: readonly FieldDescription[];
}

export class Plans {
  readonly #made = new WeakMap<object, Made>();
  /** Values masked since they were last counted for a command, by class. */
  readonly counts: MaskCounts = new Map();
  readonly key: Uint8Array;

  constructor(key: Uint8Array) {
    this.key = key;
  }

  /** `of`: what the result is the result of; `result`: which of its results. The error is a sentence without any data. */
  rows(of: object, result: number, masking: SubjectMasking, fields: readonly FieldDescription[]): Result<RowPlan, string> {
    const verdicts = masking.verdicts[result] ?? [];
    const before = this.#made.get(of);
    if (before?.masking === masking && before.verdicts === verdicts && sameFields(before.fields, fields)) return ok(before);
    const plan = planColumns(fields, verdicts, masking);
    if (!plan.ok) return plan;
    const masker = isIdle(plan.value) ? null : createRowMasker(plan.value, { key: this.key, counts: this.counts });
    const made: Made = { masking, verdicts, fields, plan: plan.value, masker };
    this.#made.set(of, made);
    return ok(made);
  }

  /** For copy data; null: nothing of it changes. */
  copy(result: number, masking: SubjectMasking, columns: number, binary: boolean): Result<ColumnPlan | null, string> {
    const plan = planCopy(columns, masking.verdicts[result] ?? [], masking);
    if (!plan.ok) return plan;
    if (isIdle(plan.value)) return ok(null);
    if (!binary) return plan;
    // It holds no text that detectors could look through, so that only a class stops it.
    const classified = plan.value.some((entry) => entry !== null && "class" in entry);
    return classified ? err("binary copy data with a classified column cannot be masked") : ok(null);
  }

  /** Adds what was masked to the counts of the command whose result it was. */
  countFor(counts: MaskCounts): void {
    if (this.counts.size === 0) return;
    for (const [name, count] of this.counts) counts.set(name, (counts.get(name) ?? 0) + count);
    this.counts.clear();
  }
}

const sameFields = (a: readonly FieldDescription[], b: readonly FieldDescription[]): boolean =>
  a === b || (a.length === b.length && a.every((field, i) => sameField(field, b[i])));

const sameField = (a: FieldDescription, b: FieldDescription | undefined): boolean =>
  a.tableOid === b?.tableOid && a.attributeNumber === b.attributeNumber && a.typeOid === b.typeOid && a.format === b.format;
