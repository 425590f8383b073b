/**
 * Writes tunnel-agent/protocols/postgres/sql/builtins/catalogue.ts from the catalogues of real PostgreSQL servers:
 *
 *   node scripts/postgres-builtins.ts URL [URL …]     one server for each major version, fresh from initdb
 *
 * A function is harmless when every overload of its name, on every server that has it, is implemented by the server
 * itself (language internal or a SQL body of pg_catalog), IMMUTABLE or STABLE (or listed as HARMLESS_VOLATILE), and not
 * in a group of excluded.ts. Names that only some versions have are kept apart: on the others the same unqualified name
 * would be somebody's own function.
 */
import { writeFile } from "node:fs/promises";
import { Client } from "pg";
import { HARMLESS_VOLATILE, isExcluded } from "../tunnel-agent/protocols/postgres/sql/builtins/excluded.ts";

const OUTPUT = new URL("../tunnel-agent/protocols/postgres/sql/builtins/catalogue.ts", import.meta.url);

/** Arguments or results of these types mean that only the server itself calls the function. */
const INTERNAL_TYPES =
  "internal,cstring,trigger,event_trigger,language_handler,fdw_handler,index_am_handler,tsm_handler,table_am_handler".split(",");

const FUNCTIONS = `
  SELECT p.proname AS name,
         bool_and(l.lanname IN ('internal', 'sql')
           AND NOT (p.proallargtypes IS NULL AND p.prorettype = ANY ($1::regtype[]))
           AND NOT EXISTS (SELECT 1 FROM unnest(p.proargtypes::oid[] || p.prorettype) t WHERE t = ANY ($1::regtype[]))) AS plain,
         bool_and(p.provolatile <> 'v') AS stable
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
   WHERE p.pronamespace = 'pg_catalog'::regnamespace
   GROUP BY p.proname`;

const NAMES = {
  operators: "SELECT DISTINCT oprname AS name FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace",
  types: "SELECT typname AS name FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace",
  relations: "SELECT relname AS name FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v')",
  informationFunctions: "SELECT DISTINCT proname AS name FROM pg_proc WHERE pronamespace = 'information_schema'::regnamespace",
  informationTypes: "SELECT typname AS name FROM pg_type WHERE typnamespace = 'information_schema'::regnamespace AND typtype = 'd'",
  // Fields that `(composite).field` may name: columns of the catalogues' rows and results of the server's own functions.
  fields: `SELECT DISTINCT attname AS name FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
            WHERE relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) AND relkind IN ('r', 'v') AND attnum > 0
           UNION SELECT DISTINCT unnest(proargnames) FROM pg_proc
            WHERE pronamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) AND proargmodes IS NOT NULL`,
} as const;

interface Catalogue {
  readonly major: number;
  readonly lists: ReadonlyMap<string, ReadonlySet<string>>;
}

async function readCatalogue(url: string): Promise<Catalogue> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const version = await client.query<{ server_version_num: string }>("SHOW server_version_num");
    const lists = new Map<string, ReadonlySet<string>>();
    const functions = await client.query<{ name: string; plain: boolean; stable: boolean }>(FUNCTIONS, [INTERNAL_TYPES]);
    const harmless = functions.rows.filter(
      ({ name, plain, stable }) => plain && (stable || HARMLESS_VOLATILE.has(name)) && !isExcluded(name),
    );
    lists.set("harmless", new Set(harmless.map(({ name }) => name)));
    // All of them, until it is known what every server holds for harmless.
    lists.set("guarded", new Set(functions.rows.map(({ name }) => name)));
    for (const [list, sql] of Object.entries(NAMES)) {
      const rows = await client.query<{ name: string }>(sql);
      lists.set(list, new Set(rows.rows.map(({ name }) => name).filter((name) => name !== "" && !name.startsWith("pg_toast"))));
    }
    return { major: Math.floor(Number(version.rows[0]?.server_version_num) / 10_000), lists };
  } finally {
    await client.end();
  }
}

/** Names in long lines: the file is read by programs, and by people only in a diff. */
function block(names: readonly string[]): string {
  const lines: string[] = [];
  let line = " ";
  for (const name of [...names].sort()) {
    if (/[\\`\s$]/.test(name)) throw new Error(`${name} cannot stand in the list`);
    if (line.length + name.length > 238) {
      lines.push(line);
      line = " ";
    }
    line += ` ${name}`;
  }
  return [...lines, line].join("\n");
}

const urls = process.argv.slice(2);
if (urls.length < 2) {
  console.error("usage: node scripts/postgres-builtins.ts URL URL …  (at least two major versions)");
  process.exit(2);
}
const catalogues = (await Promise.all(urls.map(readCatalogue))).sort((a, b) => a.major - b.major);
const majors = catalogues.map(({ major }) => major);
/** Harmless on every server that has it. */
const harmless = new Set(
  [...new Set(catalogues.flatMap(({ lists }) => [...(lists.get("harmless") ?? [])]))].filter((name) =>
    catalogues.every(({ lists }) => lists.get("harmless")?.has(name) === lists.get("guarded")?.has(name)),
  ),
);
const sections = ["harmless", "guarded", ...Object.keys(NAMES)].map((list) => {
  const all = new Set(catalogues.flatMap(({ lists }) => [...(lists.get(list) ?? [])]));
  const byVersions = new Map<string, string[]>();
  for (const name of all) {
    if ((list === "harmless" && !harmless.has(name)) || (list === "guarded" && harmless.has(name))) continue;
    const versions = catalogues.filter(({ lists }) => lists.get(list)?.has(name)).map(({ major }) => major);
    const key = versions.length === majors.length ? "all" : versions.join(",");
    byVersions.set(key, [...(byVersions.get(key) ?? []), name]);
  }
  const entries = [...byVersions].sort(([a], [b]) => b.localeCompare(a)).map(([key, names]) => `    "${key}": \`\n${block(names)}\`,`);
  return `  ${list}: {\n${entries.join("\n")}\n  },`;
});

await writeFile(
  OUTPUT,
  `/**
 * Made by scripts/postgres-builtins.ts from PostgreSQL ${majors.join(" and ")}; do not edit. What each list means and what is left out
 * of \`harmless\`: excluded.ts. Keys are the major versions that have the names; \`all\` are those that every one has.
 */

export const MAJORS: readonly number[] = [${majors.join(", ")}];

export const CATALOGUE = {
${sections.join("\n")}
} as const satisfies Record<string, Readonly<Record<string, string>>>;
`,
);
console.log(`wrote ${OUTPUT.pathname} from PostgreSQL ${majors.join(", ")}`);
