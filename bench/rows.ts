/** The benchmark's results: rows as `--json` writes them, medians over rounds, and the table that people read. */
export type Path = "direct" | "tunnel" | "gateway";
export const PATHS: readonly Path[] = ["direct", "tunnel", "gateway"];

export interface Row {
  readonly case: string;
  readonly path: Path;
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
}

export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] ?? Number.NaN) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
};

/** Sorted values → the value at quantile `q` (nearest rank). */
export const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;

/** Rows of all rounds → one row per (case, metric, path): the median. */
export function mediansOf(rounds: readonly (readonly Row[])[]): Row[] {
  const groups = new Map<string, Row[]>();
  for (const row of rounds.flat()) {
    const key = `${row.case}\n${row.metric}\n${row.path}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()].flatMap((rows) => {
    const [first] = rows;
    return first === undefined ? [] : [{ ...first, value: median(rows.map((row) => row.value)) }];
  });
}

const shown = (value: number | undefined): string =>
  value === undefined ? "–" : value >= 1000 ? Math.round(value).toLocaleString("en") : value >= 10 ? value.toFixed(1) : value.toFixed(3);

/** One line per (case, metric), the paths side by side, and the gateway's ratio to the bare tunnel and to direct. */
export function printTable(rows: readonly Row[]): string {
  const lines = [["case", "metric", "direct", "tunnel", "gateway", "gateway/tunnel", "gateway/direct"]];
  for (const key of new Set(rows.map((row) => `${row.case}\n${row.metric}\n${row.unit}`))) {
    const [name, metric, unit] = key.split("\n");
    const at = (path: Path) => rows.find((row) => row.case === name && row.metric === metric && row.path === path)?.value;
    const ratio = (a: number | undefined, b: number | undefined) => (a === undefined || b === undefined ? "–" : (a / b).toFixed(2));
    const [direct, tunnel, gateway] = [at("direct"), at("tunnel"), at("gateway")];
    lines.push([
      name ?? "",
      `${metric} [${unit}]`,
      shown(direct),
      shown(tunnel),
      shown(gateway),
      ratio(gateway, tunnel),
      ratio(gateway, direct),
    ]);
  }
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
  return lines
    .map((line) =>
      line.map((cell, column) => (column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join("  "),
    )
    .join("\n");
}
