/**
 * What of a result is recorded for the replay: nothing, its beginning, or all of it, as the client saw it. Memory is
 * bounded whatever the result's size; what cannot be recorded is left out and fails nothing, since it is a view for people
 * and not the evidence that a command ran.
 */
import type { RecordResults } from "../config.ts";
import { recordValue, typeName, type RecordedValue } from "../recorded-values.ts";
import type { SessionRecorder } from "../../../recording/recorder.ts";

/** Of a sample: rows, and bytes of rows as the client got them. */
export const SAMPLE_ROWS = 50;
export const SAMPLE_BYTES = 64 * 1024;
/** Of one event of a result that is recorded in full. */
const CHUNK_ROWS = 1000;
const CHUNK_BYTES = 256 * 1024;

export interface RecordedColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly format: number;
  readonly class?: string | undefined;
}

export interface ResultPlace {
  readonly command: number;
  /** Which of its results, from 0. */
  readonly result: number;
}

export class ResultRecord {
  readonly #recorder: Pick<SessionRecorder, "result">;
  readonly #maskText: (text: string) => string;
  readonly #place: ResultPlace;
  readonly #makeColumns: () => readonly RecordedColumn[];
  #made: readonly RecordedColumn[] | null = null;
  readonly #full: boolean;
  #rows: RecordedValue[][] = [];
  #bytes = 0;
  /** Rows in events before. */
  #from = 0;
  #ended = false;

  constructor(
    mode: Exclude<RecordResults, "none">,
    place: ResultPlace,
    columns: () => readonly RecordedColumn[],
    session: { readonly recorder: Pick<SessionRecorder, "result">; readonly maskText: (text: string) => string },
  ) {
    this.#full = mode === "full";
    this.#place = place;
    this.#makeColumns = columns;
    this.#recorder = session.recorder;
    this.#maskText = session.maskText;
  }

  /** Made when the first row comes: most results of a pipeline have none. */
  get #columns(): readonly RecordedColumn[] {
    this.#made ??= this.#makeColumns();
    return this.#made;
  }

  /** Bytes of one row that is read at all. */
  get most(): number {
    return this.#full ? CHUNK_BYTES : SAMPLE_BYTES;
  }

  /** One row: the body of its DataRow, well-formed. False: it wants no more of them. */
  row(body: Buffer): boolean {
    if (!this.#takes(body.length)) return false;
    const count = body.readUInt16BE(0);
    const row: RecordedValue[] = [];
    for (let i = 0, at = 2; i < count; i++) {
      const length = body.readInt32BE(at);
      at += 4;
      const column = this.#columns[i];
      row.push(length < 0 ? null : recordValue(body.subarray(at, at + length), column?.typeOid ?? 0, column?.format ?? 0, this.#maskText));
      at += Math.max(length, 0);
    }
    this.#rows.push(row);
    this.#bytes += body.length;
    return true;
  }

  /** One piece of copy data, which is a row where the server sends it. */
  copy(data: Buffer): boolean {
    if (!this.#takes(data.length)) return false;
    const format = this.#columns[0]?.format ?? 0;
    const line = format === 0 && data.at(-1) === 0x0a ? data.subarray(0, -1) : data;
    this.#rows.push([recordValue(line, 0, format, this.#maskText)]);
    this.#bytes += data.length;
    return true;
  }

  /** A row that is too long to be read: in a full record its place is kept. False as in `row`. */
  skip(length: number): boolean {
    if (!this.#full) {
      this.#finish(true);
      return false;
    }
    if (!this.#takes(0)) return false;
    this.#rows.push([{ bytes: length }]);
    return true;
  }

  #takes(bytes: number): boolean {
    if (this.#full) {
      if (this.#rows.length >= CHUNK_ROWS || this.#bytes + bytes > CHUNK_BYTES) this.#write(false);
      return !this.#ended;
    }
    if (this.#rows.length < SAMPLE_ROWS && this.#bytes + bytes <= SAMPLE_BYTES) return true;
    this.#finish(true);
    return false;
  }

  /** The result is over. */
  end(): void {
    this.#finish(false);
  }

  #finish(truncated: boolean): void {
    if (this.#ended) return;
    if (this.#rows.length > 0 || truncated) this.#write(truncated);
    this.#ended = true;
  }

  #write(truncated: boolean): void {
    const { command, result } = this.#place;
    try {
      this.#recorder.result({
        command,
        ...(result === 0 ? {} : { result }),
        ...(this.#from === 0 ? {} : { from: this.#from }),
        columns: this.#columns.map((column) => ({
          name: column.name,
          type: typeName(column.typeOid),
          ...(column.class === undefined ? {} : { class: column.class }),
        })),
        rows: this.#rows,
        truncated,
      });
    } catch {
      // No room for it: the command goes on without it.
      this.#ended = true;
    }
    this.#from += this.#rows.length;
    this.#rows = [];
    this.#bytes = 0;
  }
}
