/**
 * The bundled client, for machines without psql: `client.ts -c SQL [-c SQL…]`, connecting by PGHOST, PGPORT, … as
 * psql does. Prints rows as a table and errors as psql words them; exits 1 when a statement fails, 2 when the
 * connection does.
 */
import { Client, DatabaseError } from "pg";

const text = (value: string | number | boolean | object | null): string =>
  value === null ? "" : value instanceof Date ? value.toISOString() : typeof value === "object" ? JSON.stringify(value) : String(value);

function table(fields: readonly string[], rows: readonly (readonly (string | number | boolean | object | null)[])[]): string {
  const cells = rows.map((row) => row.map((value) => text(value)));
  const widths = fields.map((field, column) => Math.max(field.length, ...cells.map((row) => row[column]?.length ?? 0)));
  const line = (values: readonly string[]) => values.map((value, column) => ` ${value.padEnd(widths[column] ?? 0)} `).join("|");
  const count = `(${rows.length} ${rows.length === 1 ? "row" : "rows"})`;
  return [line(fields), widths.map((width) => "-".repeat(width + 2)).join("+"), ...cells.map(line), count].join("\n");
}

const statements = process.argv.slice(2).filter((argument) => argument !== "-c");
const client = new Client({ ssl: false });
client.on("notice", (notice) => process.stderr.write(`NOTICE:  ${notice.message ?? ""}\n`));
try {
  await client.connect();
} catch (error) {
  process.stderr.write(`error: connection failed: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(2);
}
let status = 0;
for (const text of statements) {
  try {
    const result = await client.query<(string | number | boolean | object | null)[]>({ text, rowMode: "array" });
    const names = result.fields.map((field) => field.name);
    process.stdout.write(`${names.length > 0 ? table(names, result.rows) : `${result.command} ${result.rowCount ?? ""}`.trim()}\n`);
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    process.stderr.write(`ERROR:  ${error.message}\n`);
    if (error.detail !== undefined) process.stderr.write(`DETAIL:  ${error.detail}\n`);
    if (error.hint !== undefined) process.stderr.write(`HINT:  ${error.hint}\n`);
    status = 1;
    break;
  }
}
await client.end();
process.exit(status);
