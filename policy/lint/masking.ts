/**
 * Data classes that do not do what they seem to: columns and detectors that an earlier class has already, grants and
 * policies that name a class that does not exist, and permits of every action, which show every masked value.
 */
import type { IdentityFile } from "../bundle/identity.ts";
import type { MaskingFile } from "../bundle/masking.ts";
import type { PolicySource } from "../cedar/source.ts";
import { coversPattern } from "../pattern.ts";
import { problem, suggestion } from "../problem.ts";
import type { ColumnPattern, DataClass, Problem } from "../types.ts";
import { entitiesOf } from "./references.ts";

const PARTS = ["target", "schema", "table", "column"] as const;
const covers = (wide: ColumnPattern, narrow: ColumnPattern): boolean => PARTS.every((part) => coversPattern(wide[part], narrow[part]));

/** Whether `wide` looks wherever `narrow` does. */
const looksWherever = (wide: DataClass, narrow: DataClass): boolean =>
  wide.targets.length === 0 ||
  (narrow.targets.length > 0 && narrow.targets.every((target) => wide.targets.some((each) => coversPattern(each, target))));

/** Of two classes that have a column the first keeps it: what it takes wholly from a later one is said there. */
export function lintClasses(masking: MaskingFile): readonly Problem[] {
  const { file, rules } = masking;
  return rules.classes.flatMap((dataClass, index) => {
    const earlier = rules.classes.slice(0, index);
    const say = (key: string, at: number, what: string, by: string): Problem =>
      problem(
        "warning",
        "masking-shadowed",
        file,
        `${what} belongs to ${by}, which is above: it is masked as that class says; remove it here, or move ${dataClass.name} up`,
        masking.locate(["classes", dataClass.name, key, at]),
      );
    return [
      ...dataClass.columns.flatMap((column, at) => {
        const by = earlier.find((other) => other.columns.some((wide) => covers(wide, column)));
        return by === undefined ? [] : [say("columns", at, "this column", by.name)];
      }),
      ...dataClass.names.flatMap((name, at) => {
        const by = earlier.find((other) => looksWherever(other, dataClass) && other.names.some((wide) => coversPattern(wide, name)));
        return by === undefined ? [] : [say("names", at, `the name ${name}`, by.name)];
      }),
      ...dataClass.detectors.flatMap((detector, at) => {
        const by = earlier.find((other) => looksWherever(other, dataClass) && other.detectors.includes(detector));
        return by === undefined ? [] : [say("detectors", at, `what ${detector} finds`, by.name)];
      }),
    ];
  });
}

const unknownClass = (name: string, classes: readonly string[]): string =>
  classes.length === 0
    ? `no data class is called ${name}: masking.yaml declares none`
    : `no data class is called ${name}${suggestion(name, classes)}`;

/** A slip here would leave a class masked in a grant, and visible in a forbid. */
export function lintClassNames(
  identities: readonly IdentityFile[],
  policies: readonly PolicySource[],
  classes: readonly string[],
): readonly Problem[] {
  const inGrants = identities.flatMap((identity) =>
    identity.grants.flatMap((grant, index) =>
      (grant.classes ?? []).flatMap((name, at) =>
        classes.includes(name)
          ? []
          : [
              problem(
                "error",
                "class-unknown",
                identity.declaration.file,
                unknownClass(name, classes),
                identity.locate(["grants", index, "classes", at]),
              ),
            ],
      ),
    ),
  );
  // The floor outlives bundles: it may speak of classes that this one does not have.
  const inCedar = policies
    .filter((policy) => policy.origin === "cedar")
    .flatMap((policy) => {
      const { annotations: _, ...rest } = policy.json;
      const named = new Set(entitiesOf(rest).flatMap((entity) => (entity.type === "DataClass" ? [entity.id] : [])));
      return [...named]
        .filter((name) => !classes.includes(name))
        .map((name) => problem("error", "class-unknown", policy.file, unknownClass(name, classes), policy.place));
    });
  return [...inGrants, ...inCedar];
}

/** `permit (principal, action, resource)` shows what masking.yaml hides, which nobody may have meant. */
export function lintImpliedUnmask(policy: PolicySource): readonly Problem[] {
  const { effect, origin, json, text } = policy;
  if (effect !== "permit" || origin !== "cedar" || json.action.op !== "All") return [];
  const scope = json.resource;
  const anyClass =
    scope.op === "All" || (scope.op === "in" && entitiesOf(scope).some((each) => ["Target", "Environment", "Label"].includes(each.type)));
  // Whoever writes of unmask or of types knows what they permit; what the conditions then let through is theirs to test.
  if (!anyClass || /\bunmask\b|\bresource\s+is\b/.test(text)) return [];
  const message =
    'this permits unmask too, and so shows every value that masking.yaml hides: name the actions, or add unless { action == Action::"unmask" }';
  return [problem("warning", "unmask-implied", policy.file, message, policy.place)];
}
