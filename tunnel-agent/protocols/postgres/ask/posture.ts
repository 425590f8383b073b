/**
 * `sallyport doctor TARGET`: which masking guarantee a target has, and why. Level A needs two logins, of which the
 * ordinary one can neither read a classified column, nor see one through a view with its owner's rights, nor give itself
 * the right to. That is asked of the server each time; nothing is remembered.
 */
import { rulesFor } from "../../../../policy/masking.ts";
import type { MaskingRules } from "../../../../policy/types.ts";
import type { MaskingLevel, Posture, PostureFinding } from "../../../../protocol/posture.ts";
import { judge } from "./posture-findings.ts";
import { loadPosture, type PostureFacts, type RunQuery } from "./posture-facts.ts";

export interface PostureSettings {
  readonly target: string;
  /** The agent's logins, by role. */
  readonly ordinary: string;
  readonly unmasked: string | undefined;
  readonly masking: "strict" | "best-effort";
}

/** What takes level A away, if it fails. */
const FLOOR = new Set([
  "superuser",
  "replication",
  "createrole",
  "escalation",
  "classified-owner",
  "classified-columns",
  "classified-views",
]);

const MAX_FINDINGS = 2_000;
const MAX_CLASSIFIED = 5_000;

export async function posture(run: RunQuery, rules: MaskingRules, settings: PostureSettings, bundle: number): Promise<Posture> {
  const own = rulesFor(rules, settings.target);
  const facts = await loadPosture(run, own, settings.ordinary, settings.unmasked);
  const findings = judge(facts);
  return {
    ...levelOf(facts, settings, findings, own),
    server_version: facts.version.slice(0, 63),
    database: facts.database,
    classified: facts.classified
      .slice(0, MAX_CLASSIFIED)
      .map(({ schema, name, column, class: dataClass }) => ({ column: `${schema}.${name}.${column}`.slice(0, 256), class: dataClass })),
    findings: findings.slice(0, MAX_FINDINGS).map(fitting),
    bundle,
  };
}

function levelOf(
  { classified, ordinary }: PostureFacts,
  { unmasked, masking }: PostureSettings,
  findings: readonly PostureFinding[],
  rules: MaskingRules,
): { readonly level: MaskingLevel; readonly why: string } {
  if (classified.length === 0) {
    const detectors = rules.classes.some((dataClass) => dataClass.detectors.length > 0);
    return {
      level: "none",
      why: `No data class of the bundle names a column of this database${detectors ? "; detectors mask what they recognise, which is no guarantee" : ""}.`,
    };
  }
  if (masking === "best-effort")
    return { level: "C", why: "agent.yaml says masking: best-effort: what is recognised is masked, and nothing is proven." };
  const strict = "a statement that touches a classified column is refused unless it is a bare projection";
  if (unmasked === undefined) {
    return {
      level: "B",
      why: `The agent has one login, ${ordinary.name}, which ${ordinary.reads.length > 0 ? "may" : "may not"} read classified columns: ${strict}.`,
    };
  }
  const against = findings.filter(({ check, status, login }) => status === "fail" && login === ordinary.name && FLOOR.has(check));
  if (against.length === 0) {
    return {
      level: "A",
      why: `The ordinary login ${ordinary.name} may read none of ${classified.length} classified columns: the database itself refuses what would.`,
    };
  }
  return { level: "B", why: `There are two logins, but of the ordinary one ${against[0]?.message ?? ""}: ${strict}.`.slice(0, 4096) };
}

/** Within the schema's bounds: a cut is visible. */
function fitting({ message, sql, ...rest }: PostureFinding): PostureFinding {
  const cut = (text: string): string => (text.length <= 4096 ? text : `${text.slice(0, 4000)} … (cut)`);
  const kept = sql.filter((statement) => statement.length <= 4096).slice(0, 499);
  const left = sql.length - kept.length;
  return { ...rest, message: cut(message), sql: left === 0 ? kept : [...kept, `-- ${left} more statements are not shown.`] };
}
