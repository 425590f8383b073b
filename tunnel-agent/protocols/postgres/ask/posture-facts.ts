/**
 * What the server says of the agent's logins: attributes, memberships, privileges on classified columns and all else that
 * the findings judge. Everything is asked of the catalogue by the login itself, with SQL of this file alone; functions
 * that take a role answer for the other login too. PostgreSQL 12 to 18.
 *
 * Names in the results are the server's own: whoever prints them escapes them.
 */
import { classOfColumn } from "../../../../policy/masking.ts";
import type { MaskingRules } from "../../../../policy/types.ts";
import { AskRefused } from "../../../session.ts";

/** Runs one statement of the agent's own; values in text, booleans `t` and `f`. */
export type RunQuery = (sql: string, parameters?: readonly string[]) => Promise<readonly (readonly (string | null)[])[]>;

export interface RoleFacts {
  readonly oid: string;
  readonly name: string;
  readonly superuser: boolean;
  readonly replication: boolean;
  readonly bypassRls: boolean;
  readonly createRole: boolean;
  readonly createDatabase: boolean;
  /** Roles that it may become or whose rights it has. `set`: SET ROLE; `admin`: may grant it on, to itself too. */
  readonly memberships: readonly Membership[];
  readonly databaseOwner: boolean;
  /** Null: it may make no temporary objects. */
  readonly temporary: Via | null;
  readonly schemas: readonly { readonly schema: string; readonly via: Via }[];
  readonly definers: readonly { readonly signature: string; readonly owner: string; readonly via: Via }[];
  readonly languages: readonly { readonly name: string; readonly trusted: boolean; readonly via: Via }[];
  readonly untrusted: readonly { readonly signature: string; readonly language: string; readonly via: Via }[];
  readonly reads: readonly ColumnRead[];
  readonly owns: readonly RelationName[];
  readonly views: readonly { readonly view: RelationName; readonly reads: readonly string[]; readonly kind: string; readonly via: Via }[];
  /** Relations that it may write to. Only counted. */
  readonly writes: number;
}

/** The grantees that give a right, PUBLIC included; empty where it comes from ownership or an attribute. */
export type Via = readonly string[];

export interface Membership {
  readonly role: string;
  readonly set: boolean;
  readonly inherits: boolean;
  /** Granted to the role itself, not to another of its roles. */
  readonly direct: boolean;
  readonly admin: boolean;
  readonly superuser: boolean;
  readonly replication: boolean;
  readonly bypassRls: boolean;
  readonly createRole: boolean;
}

export interface RelationName {
  readonly schema: string;
  readonly name: string;
}

/** A classified column that the role may SELECT. */
export interface ColumnRead extends RelationName {
  readonly column: string;
  readonly class: string;
  /** Grantees of the whole relation, and of this column. */
  readonly whole: Via;
  readonly own: Via;
}

export interface Classified extends RelationName {
  readonly oid: string;
  readonly attnum: string;
  readonly column: string;
  readonly class: string;
  readonly kind: string;
}

export interface PostureFacts {
  readonly version: string;
  readonly major: number;
  readonly database: string;
  readonly databaseOwnerName: string;
  readonly classified: readonly Classified[];
  /** Every column of the classified relations, in order, for column lists. */
  readonly columns: ReadonlyMap<string, readonly string[]>;
  readonly ordinary: RoleFacts;
  readonly unmasked: RoleFacts | undefined;
}

/** Columns of a database that are looked at; beyond it the answer would not be whole. */
const MAX_COLUMNS = 100_000;
/** Objects of one kind that are listed. */
const MAX_LISTED = 200;

const OWN_SCHEMAS = `n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp%'`;

/** Grantees among PUBLIC and the roles whose rights role $1 has; not the owner, whose rights no REVOKE by others takes. */
const VIA = (acl: string, owner: string, privilege: string): string => `ARRAY(
  SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END
  FROM pg_catalog.aclexplode(${acl}) a
  WHERE a.privilege_type = '${privilege}' AND a.grantee <> ${owner}
    AND (a.grantee = 0 OR pg_catalog.pg_has_role($1::oid, a.grantee, 'USAGE')) ORDER BY 1)`;

const SERVER = `SELECT pg_catalog.current_setting('server_version'), pg_catalog.current_setting('server_version_num'),
  pg_catalog.current_database()::text, pg_catalog.pg_get_userbyid(d.datdba)::text
  FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()`;

const COLUMNS = `SELECT c.oid::text, a.attnum::text, n.nspname::text, c.relname::text, a.attname::text, c.relkind::text
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND ${OWN_SCHEMAS} ORDER BY 3, 4, c.oid, a.attnum LIMIT ${MAX_COLUMNS + 1}`;

const ROLE = `SELECT r.oid::text, r.rolname::text, r.rolsuper, r.rolreplication, r.rolbypassrls, r.rolcreaterole, r.rolcreatedb,
  pg_catalog.pg_has_role(r.oid, d.datdba, 'USAGE'),
  CASE WHEN pg_catalog.has_database_privilege(r.oid, d.oid, 'TEMP') THEN 't' ELSE 'f' END
  FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
  WHERE r.rolname = $1 AND d.datname = pg_catalog.current_database()`;

const TEMPORARY = `SELECT ${VIA("coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))", "d.datdba", "TEMPORARY")}::text
  FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()`;

/** Of 16 and later SET ROLE is a right of its own; before it every membership has it. */
const MEMBERSHIPS = (major: number): string => `SELECT r.rolname::text,
  ${major >= 16 ? "pg_catalog.pg_has_role($1::oid, r.oid, 'SET')" : "pg_catalog.pg_has_role($1::oid, r.oid, 'MEMBER')"},
  pg_catalog.pg_has_role($1::oid, r.oid, 'USAGE'), pg_catalog.pg_has_role($1::oid, r.oid, 'MEMBER WITH ADMIN OPTION'),
  r.rolsuper, r.rolreplication, r.rolbypassrls, r.rolcreaterole,
  EXISTS (SELECT 1 FROM pg_catalog.pg_auth_members m WHERE m.roleid = r.oid AND m.member = $1::oid)
  FROM pg_catalog.pg_roles r WHERE r.oid <> $1::oid AND r.rolname <> 'pg_database_owner'
    AND (pg_catalog.pg_has_role($1::oid, r.oid, 'MEMBER') OR pg_catalog.pg_has_role($1::oid, r.oid, 'MEMBER WITH ADMIN OPTION'))
  ORDER BY 1 LIMIT ${MAX_LISTED}`;

const SCHEMAS = `SELECT n.nspname::text, ${VIA("coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))", "n.nspowner", "CREATE")}::text
  FROM pg_catalog.pg_namespace n
  WHERE n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp%' AND pg_catalog.has_schema_privilege($1::oid, n.oid, 'CREATE')
  ORDER BY 1 LIMIT ${MAX_LISTED}`;

const FUNCTION_VIA = VIA("coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))", "p.proowner", "EXECUTE");
const SIGNATURE = `pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid))`;
const EXECUTABLE = `${OWN_SCHEMAS} AND pg_catalog.has_function_privilege($1::oid, p.oid, 'EXECUTE') AND pg_catalog.has_schema_privilege($1::oid, n.oid, 'USAGE')`;

const DEFINERS = `SELECT ${SIGNATURE}, pg_catalog.pg_get_userbyid(p.proowner)::text, ${FUNCTION_VIA}::text
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  WHERE p.prosecdef AND p.proowner <> $1::oid AND ${EXECUTABLE} ORDER BY 1 LIMIT ${MAX_LISTED}`;

const UNTRUSTED = `SELECT ${SIGNATURE}, l.lanname::text, ${FUNCTION_VIA}::text
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  WHERE NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c') AND ${EXECUTABLE} ORDER BY 1 LIMIT ${MAX_LISTED}`;

const LANGUAGES = `SELECT l.lanname::text, l.lanpltrusted, ${VIA("coalesce(l.lanacl, pg_catalog.acldefault('l', l.lanowner))", "l.lanowner", "USAGE")}::text
  FROM pg_catalog.pg_language l WHERE l.lanispl AND pg_catalog.has_language_privilege($1::oid, l.oid, 'USAGE') ORDER BY 1`;

const RELATION_VIA = VIA("coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))", "c.relowner", "SELECT");
const READS = `SELECT c.oid::text, a.attnum::text, pg_catalog.has_column_privilege($1::oid, c.oid, a.attnum, 'SELECT'),
  ${RELATION_VIA}::text, ${VIA("a.attacl", "c.relowner", "SELECT")}::text, pg_catalog.pg_has_role($1::oid, c.relowner, 'USAGE')
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  WHERE (c.oid::text, a.attnum::text) IN (SELECT * FROM unnest($2::text[], $3::text[]))`;

/** Which columns a view reads, by the dependencies of its rule; column 0 is the whole relation. */
const VIEW_READS = `SELECT DISTINCT v.oid::text, d.refobjid::text, d.refobjsubid::text
  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid JOIN pg_catalog.pg_class v ON v.oid = r.ev_class
  WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND v.relkind IN ('v', 'm')
    AND d.refobjid <> v.oid AND d.refobjid >= 16384 LIMIT ${MAX_COLUMNS}`;

const VIEWS = `SELECT c.oid::text, n.nspname::text, c.relname::text, c.relkind::text, ${RELATION_VIA}::text,
  coalesce('security_invoker=true' = ANY (c.reloptions) OR 'security_invoker=on' = ANY (c.reloptions) OR 'security_invoker=1' = ANY (c.reloptions), false),
  c.relowner = $1::oid
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('v', 'm') AND c.oid::text = ANY ($2::text[]) AND pg_catalog.has_any_column_privilege($1::oid, c.oid, 'SELECT')`;

const WRITES = `SELECT count(*)::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'f') AND ${OWN_SCHEMAS} AND pg_catalog.has_table_privilege($1::oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')`;

const yes = (value: string | null | undefined): boolean => value === "t" || value === "true";

/** PostgreSQL's text form of a text array (manual section 8.15.2): one dimension, no NULLs. */
export function readTextArray(value: string | null | undefined): string[] {
  const items: string[] = [];
  for (const match of (value ?? "{}").slice(1, -1).matchAll(/"((?:[^"\\]|\\.)*)"|([^,]+)/gs)) {
    items.push(match[1] === undefined ? (match[2] ?? "") : match[1].replaceAll(/\\(.)/gs, "$1"));
  }
  return items;
}

const writeTextArray = (items: readonly string[]): string => `{${items.join(",")}}`;

async function classifiedColumns(run: RunQuery, rules: MaskingRules): Promise<Pick<PostureFacts, "classified" | "columns">> {
  const rows = await run(COLUMNS);
  if (rows.length > MAX_COLUMNS)
    throw new AskRefused("too_large", `The database has more than ${MAX_COLUMNS} columns: its posture cannot be told whole.`);
  const classified: Classified[] = [];
  const columns = new Map<string, string[]>();
  for (const [oid = "", attnum = "", schema = "", name = "", column = "", kind = ""] of rows as readonly string[][]) {
    columns.set(oid, [...(columns.get(oid) ?? []), column]);
    const found = classOfColumn(rules, { schema, table: name, column });
    if (found !== undefined) classified.push({ oid, attnum, schema, name, column, kind, class: found.dataClass.name });
  }
  return { classified, columns };
}

/** Views by oid that read a classified column, directly or through other views, and which. */
async function viewsOverClassified(run: RunQuery, classified: readonly Classified[]): Promise<Map<string, Set<string>>> {
  const readersOf = new Map<string, Set<string>>();
  const byColumn = new Map<string, Classified[]>();
  for (const column of classified) {
    for (const key of [`${column.oid}.${column.attnum}`, `${column.oid}.0`]) byColumn.set(key, [...(byColumn.get(key) ?? []), column]);
  }
  const found = new Map<string, Set<string>>();
  for (const [view = "", relation = "", attnum = ""] of (await run(VIEW_READS)) as readonly string[][]) {
    readersOf.set(relation, (readersOf.get(relation) ?? new Set()).add(view));
    for (const column of byColumn.get(`${relation}.${attnum}`) ?? []) {
      found.set(view, (found.get(view) ?? new Set()).add(`${column.schema}.${column.name}.${column.column}`));
    }
  }
  // A view over such a view may show what that one reads: taken as if it did.
  const open = [...found.keys()];
  for (let view = open.pop(); view !== undefined; view = open.pop()) {
    for (const reader of readersOf.get(view) ?? []) {
      const before = found.get(reader) ?? new Set<string>();
      const after = new Set([...before, ...(found.get(view) ?? [])]);
      if (after.size > before.size) {
        found.set(reader, after);
        open.push(reader);
      }
    }
  }
  return found;
}

async function roleFacts(run: RunQuery, name: string, major: number, classified: readonly Classified[]): Promise<RoleFacts> {
  const [row] = await run(ROLE, [name]);
  if (row === undefined)
    throw new AskRefused("target_unreachable", "The target does not know the agent's login: its role was dropped or renamed.");
  const oid = row[0] ?? "";
  const columnsOf = (keys: readonly Classified[]) => [
    writeTextArray(keys.map((key) => key.oid)),
    writeTextArray(keys.map((key) => key.attnum)),
  ];
  const privileges = new Map((await run(READS, [oid, ...columnsOf(classified)])).map((read) => [`${read[0]}.${read[1]}`, read]));
  const reads: ColumnRead[] = [];
  const owns = new Map<string, RelationName>();
  for (const { oid: relation, attnum, schema, name: table, column, class: dataClass } of classified) {
    const read = privileges.get(`${relation}.${attnum}`);
    if (read === undefined) continue;
    const [, , readable, whole, own, owned] = read;
    if (yes(owned)) owns.set(relation, { schema, name: table });
    if (yes(readable)) {
      reads.push({ schema, name: table, column, class: dataClass, whole: readTextArray(whole), own: readTextArray(own) });
    }
  }
  const over = await viewsOverClassified(run, classified);
  const views = (await run(VIEWS, [oid, writeTextArray([...over.keys()])])).flatMap((view) => {
    const [id = "", schema = "", viewName = "", kind = "", via, invoker, ownerItself] = view as readonly string[];
    // With the rights of the reader it shows no more than the tables do; of its own view a role is the reader.
    if (yes(invoker) || (yes(ownerItself) && kind === "v")) return [];
    return [{ view: { schema, name: viewName }, kind, via: readTextArray(via), reads: [...(over.get(id) ?? [])].sort() }];
  });
  const temporary = yes(row[8]) ? readTextArray((await run(TEMPORARY, [oid]))[0]?.[0]) : null;
  return {
    oid,
    name: row[1] ?? name,
    superuser: yes(row[2]),
    replication: yes(row[3]),
    bypassRls: yes(row[4]),
    createRole: yes(row[5]),
    createDatabase: yes(row[6]),
    databaseOwner: yes(row[7]),
    temporary,
    memberships: (await run(MEMBERSHIPS(major), [oid])).map((member) => ({
      role: member[0] ?? "",
      set: yes(member[1]),
      inherits: yes(member[2]),
      admin: yes(member[3]),
      superuser: yes(member[4]),
      replication: yes(member[5]),
      bypassRls: yes(member[6]),
      createRole: yes(member[7]),
      direct: yes(member[8]),
    })),
    schemas: (await run(SCHEMAS, [oid])).map((schema) => ({ schema: schema[0] ?? "", via: readTextArray(schema[1]) })),
    definers: (await run(DEFINERS, [oid])).map((f) => ({ signature: f[0] ?? "", owner: f[1] ?? "", via: readTextArray(f[2]) })),
    untrusted: (await run(UNTRUSTED, [oid])).map((f) => ({ signature: f[0] ?? "", language: f[1] ?? "", via: readTextArray(f[2]) })),
    languages: (await run(LANGUAGES, [oid])).map((l) => ({ name: l[0] ?? "", trusted: yes(l[1]), via: readTextArray(l[2]) })),
    reads,
    owns: [...owns.values()],
    views,
    writes: Number((await run(WRITES, [oid]))[0]?.[0] ?? 0),
  };
}

/** `rules`: of this target. `unmasked`: the role of the second login, where there is one. */
export async function loadPosture(
  run: RunQuery,
  rules: MaskingRules,
  ordinary: string,
  unmasked: string | undefined,
): Promise<PostureFacts> {
  const [server] = await run(SERVER);
  const major = Math.floor(Number(server?.[1] ?? 0) / 10_000);
  const { classified, columns } = await classifiedColumns(run, rules);
  return {
    version: server?.[0] ?? "",
    major,
    database: server?.[2] ?? "",
    databaseOwnerName: server?.[3] ?? "",
    classified,
    columns,
    ordinary: await roleFacts(run, ordinary, major, classified),
    unmasked: unmasked === undefined ? undefined : await roleFacts(run, unmasked, major, classified),
  };
}
