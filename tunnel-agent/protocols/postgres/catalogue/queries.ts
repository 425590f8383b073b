/**
 * The agent's own questions to a target's catalogues: fixed texts, no value of a client in them, every name qualified.
 * For PostgreSQL 12 and later, and for an ordinary role: they read only what everybody may.
 *
 * Arrays come as JSON, so that one decoder reads all columns.
 */

/** FirstNormalObjectId (access/transam.h): what initdb made has a smaller OID. */
const FIRST_NORMAL_OID = 16_384;

/** Relations with their columns: number, name, type, whether the login may read it, whether it is generated. */
export const RELATIONS = `
  SELECT c.oid, n.nspname, c.relname, c.relkind,
         (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attnum, a.attname, a.atttypid,
                   COALESCE(pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'), false),
                   a.attgenerated <> '') ORDER BY a.attnum)
            FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
         c.relrowsecurity
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f', 'S')
   ORDER BY c.oid`;

/** How many columns that will be, so that nothing is asked for that would not be kept. */
export const SIZE = `
  SELECT COALESCE(pg_catalog.sum(c.relnatts), 0)
    FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f', 'S')`;

export const DOMAINS = `SELECT oid, typbasetype FROM pg_catalog.pg_type WHERE typtype = 'd'`;

export const INHERITANCE = `SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits`;

/**
 * Generated columns and what they are computed from: until PostgreSQL 14 the column itself depends on the others, from
 * then on its default does (StoreAttrDefault).
 */
export const GENERATED = `
  SELECT a.attrelid, a.attnum, d.refobjsubid
    FROM pg_catalog.pg_attribute a
    LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
    JOIN pg_catalog.pg_depend d
      ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = a.attrelid AND d.refobjsubid > 0
     AND d.refobjsubid <> a.attnum
     AND ((d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = a.attrelid AND d.objsubid = a.attnum)
       OR (d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = f.oid))
   WHERE a.attgenerated <> '' AND NOT a.attisdropped`;

/** Views outside the server's own schemas: relations that they read, and whether they call anything that is not the server's. */
export const VIEWS = `
  SELECT r.ev_class,
         (SELECT pg_catalog.json_agg(DISTINCT d.refobjid) FROM pg_catalog.pg_depend d
           WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
             AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class),
         EXISTS (SELECT FROM pg_catalog.pg_depend d
           WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
             AND d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass))
    FROM pg_catalog.pg_rewrite r
    JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE r.rulename = '_RETURN' AND c.relkind IN ('v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')`;

/** $1: an array of OIDs. Takes the locks that reading the views would. */
export const VIEW_DEFINITIONS = `
  SELECT c.oid, pg_catalog.pg_get_viewdef(c.oid)
    FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1::pg_catalog.oid[])`;

/** A function that belongs to an extension, is written in C and is immutable: it has nothing to read but its arguments. */
const SEALED = `(l.lanname IN ('c', 'internal') AND p.provolatile = 'i' AND EXISTS (SELECT FROM pg_catalog.pg_depend e
  WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND e.objid = p.oid AND e.deptype = 'e'))`;

/**
 * Extensions' functions that are as harmless without being immutable: random values, and those that citext puts beside
 * pg_catalog's of the same name, which are SQL functions that call them.
 */
const KNOWN = `(p.proname ~ '^(uuid_(generate_v[0-9a-z]+|nil|ns_[a-z0-9]+)|gen_salt|gen_random_bytes|gen_random_uuid)$'
  OR (p.provolatile = 'i' AND p.proname IN ('regexp_match', 'regexp_matches', 'regexp_replace', 'regexp_split_to_array',
      'regexp_split_to_table', 'strpos', 'replace', 'split_part', 'translate')))
  AND EXISTS (SELECT FROM pg_catalog.pg_depend e
    WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND e.objid = p.oid AND e.deptype = 'e')`;

const ONE_ARGUMENT = "(p.pronargs > 0 AND p.pronargs - p.pronargdefaults <= 1)";

export const FUNCTIONS = `
  SELECT n.nspname, p.proname, pg_catalog.bool_and(${SEALED} OR (${KNOWN})),
         pg_catalog.bool_or(${ONE_ARGUMENT} AND t.typtype IN ('c', 'p')), pg_catalog.bool_or(${ONE_ARGUMENT} AND t.typtype NOT IN ('c', 'p'))
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    LEFT JOIN pg_catalog.pg_type t ON t.oid = p.proargtypes[0]
   WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
   GROUP BY 1, 2`;

export const OPERATORS = `
  SELECT n.nspname, o.oprname, pg_catalog.bool_and(${SEALED})
    FROM pg_catalog.pg_operator o
    JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
    JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
   WHERE n.nspname <> 'pg_catalog'
   GROUP BY 1, 2`;

/**
 * Types that a value may be cast to: kind, base type of a domain, whether a check of it calls anybody's function, and
 * whether a base type's input function is an extension's.
 */
export const TYPES = `
  SELECT t.oid, n.nspname, t.typname, t.typtype, t.typbasetype,
         EXISTS (SELECT FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_depend d
             ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = k.oid
           WHERE k.contypid = t.oid AND d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)),
         EXISTS (SELECT FROM pg_catalog.pg_depend e
           WHERE e.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND e.objid = t.oid AND e.deptype = 'e')
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
   WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND t.typelem = 0`;

/** Casts between the server's own types by somebody's function. */
export const CASTS = `
  SELECT t.typname, n.nspname
    FROM pg_catalog.pg_cast c
    JOIN pg_catalog.pg_type t ON t.oid = c.casttarget AND t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace
    JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
   WHERE n.nspname <> 'pg_catalog' AND NOT ${SEALED}`;

/** What is in pg_catalog and did not come with the server, or is written in a language that its own never are. */
export const ADDED_BUILTINS = `
  SELECT 'function', p.proname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
   WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
     AND (p.oid >= ${FIRST_NORMAL_OID} OR l.lanname NOT IN ('internal', 'sql', 'c'))
   UNION
  SELECT 'operator', o.oprname FROM pg_catalog.pg_operator o
   WHERE o.oprnamespace = 'pg_catalog'::pg_catalog.regnamespace AND o.oid >= ${FIRST_NORMAL_OID}`;

/** Names of pg_catalog's functions of which any is VOLATILE: the server's word against the analysis's list. */
export const VOLATILE_BUILTINS = `
  SELECT DISTINCT p.proname FROM pg_catalog.pg_proc p
   WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND p.provolatile = 'v'`;

/**
 * One text that is another after any change of what gives names their meaning and is seen in no result: rules (views among
 * them), inheritance, policies, functions, names of relations. Row versions say it: nothing of them is written in place.
 */
export const DEFINITIONS_STAMP = `
  SELECT pg_catalog.concat_ws('/',
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat(ctid, xmin), 0)))
       FROM pg_catalog.pg_rewrite WHERE oid >= ${FIRST_NORMAL_OID}),
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat(ctid, xmin), 0)))
       FROM pg_catalog.pg_inherits),
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat(ctid, xmin), 0)))
       FROM pg_catalog.pg_policy),
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat(ctid, xmin), 0)))
       FROM pg_catalog.pg_proc WHERE oid >= ${FIRST_NORMAL_OID}),
    (SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat(oid, relname, relnamespace, relkind), 0)))
       FROM pg_catalog.pg_class WHERE oid >= ${FIRST_NORMAL_OID} AND relkind IN ('r', 'v', 'm', 'p', 'f') AND relpersistence <> 't'))`;
