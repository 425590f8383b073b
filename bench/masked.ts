/**
 * Rows of a result with 0, 1, 2 and 4 of 8 columns masked (bench/site/sallyport/masking.yaml), text and binary, beside the
 * same rows direct and through the bare tunnel, which mask nothing; and the prepared point select of a masked column.
 */
import { pointSelect, VIEWS, type Endpoint, type Sizes, type Tools } from "./cases.ts";
import { drain } from "./drain.ts";
import type { Row } from "./rows.ts";

export async function maskedRows(_tools: Tools, endpoint: Endpoint, sizes: Sizes): Promise<Row[]> {
  const rows: Row[] = [];
  const { path } = endpoint;
  for (const { masked, name } of VIEWS) {
    for (const format of ["text", "binary"] as const) {
      const { ms, firstMs } = await drain(endpoint, `SELECT * FROM ${name}`, format);
      const what = `SELECT of ${sizes.copyRows / 1e6}M rows, ${format}, ${masked} of 8 columns masked`;
      rows.push({ case: what, path, metric: "rows/s", value: sizes.copyRows / (ms / 1000), unit: "1/s" });
      rows.push({ case: what, path, metric: "first row", value: firstMs, unit: "ms" });
    }
  }
  return rows;
}

export async function maskedPoint(tools: Tools, endpoint: Endpoint, sizes: Sizes): Promise<Row[]> {
  const script = "\\set id random(1, 10000)\nSELECT id, a, name FROM wide_two WHERE id = :id;\n";
  return await pointSelect(tools, endpoint, sizes, { mode: "prepared", clients: 1, script, name: "point select of a masked column" });
}
