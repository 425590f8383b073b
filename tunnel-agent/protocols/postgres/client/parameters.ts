/**
 * Which startup parameters a client may propose. The gateway rebuilds the target's startup packet from this list, so
 * nothing else of what a client sends there ever reaches a target (PG-08). `options`, `role`, `search_path`,
 * `replication` and all that is unknown is refused, never dropped in silence.
 */
import { err, ok, type Result } from "../../../../protocol/result.ts";
import { SQLSTATE, type Refusal } from "../refusal.ts";

export interface ClientParameters {
  readonly user: string;
  readonly applicationName: string;
  /** To pass on to the target as they are: session settings without power. */
  readonly settings: ReadonlyMap<string, string>;
}

const MAX_NAME = 63;

/** Settings that pass, with the form their value must have. Compared in lower case: PostgreSQL ignores case in names. */
const SETTINGS: Readonly<Record<string, { readonly name: string; readonly form: RegExp }>> = {
  datestyle: { name: "DateStyle", form: /^[A-Za-z, ]{1,32}$/ },
  timezone: { name: "TimeZone", form: /^[A-Za-z0-9_+\-/:.]{1,64}$/ },
  intervalstyle: { name: "IntervalStyle", form: /^[A-Za-z0-9_]{1,32}$/ },
  extra_float_digits: { name: "extra_float_digits", form: /^-?[0-9]{1,2}$/ },
  bytea_output: { name: "bytea_output", form: /^(hex|escape)$/ },
};

const UTF8 = /^'?(utf-?8|unicode)'?$/i;

const refuse = (code: Refusal["code"], message: string, hint?: string): Result<never, Refusal> =>
  err({ code, message: `sallyport: ${message}`, hint });

/** `database`: the target's own; a client that names another would be shown the wrong data. */
export function admitParameters(pairs: ReadonlyMap<string, string>, database: string): Result<ClientParameters, Refusal> {
  const settings = new Map<string, string>();
  let user = "";
  let applicationName = "";
  for (const [name, value] of pairs) {
    switch (name.toLowerCase()) {
      case "user":
        user = value;
        break;
      case "database":
        if (value !== "" && value !== database) {
          return refuse(
            SQLSTATE.invalid_catalog_name,
            `this target is the database "${database}"`,
            "Leave the database out, or name this one.",
          );
        }
        break;
      case "application_name":
        applicationName = sanitiseName(value);
        break;
      case "client_encoding":
        if (!UTF8.test(value)) return refuse(SQLSTATE.feature_not_supported, "client_encoding must be UTF8");
        break;
      case "standard_conforming_strings":
        if (value !== "on") return refuse(SQLSTATE.feature_not_supported, "standard_conforming_strings must be on");
        break;
      case "replication":
        if (!/^(false|off|no|0)$/i.test(value)) return refuse(SQLSTATE.feature_not_supported, "replication is not supported");
        break;
      case "options":
        if (value.trim() !== "") {
          return refuse(
            SQLSTATE.insufficient_privilege,
            "startup options are not allowed",
            "Unset PGOPTIONS; use SET where policy allows it.",
          );
        }
        break;
      default: {
        const setting = Object.hasOwn(SETTINGS, name.toLowerCase()) ? SETTINGS[name.toLowerCase()] : undefined;
        if (setting === undefined) {
          return refuse(SQLSTATE.insufficient_privilege, `the startup parameter ${JSON.stringify(name.slice(0, MAX_NAME))} is not allowed`);
        }
        if (!setting.form.test(value)) return refuse(SQLSTATE.insufficient_privilege, `the value of ${setting.name} is not allowed`);
        if (settings.has(setting.name)) return refuse(SQLSTATE.protocol_violation, `${setting.name} appears twice`);
        settings.set(setting.name, value);
      }
    }
  }
  if (user === "") return refuse(SQLSTATE.invalid_authorization_specification, "no PostgreSQL user name specified in startup packet");
  if (Buffer.byteLength(user) > MAX_NAME) return refuse(SQLSTATE.protocol_violation, `the user name is longer than ${MAX_NAME} bytes`);
  return ok({ user, applicationName, settings });
}

/** As PostgreSQL cleans application_name: printable ASCII, 63 bytes at most. */
export function sanitiseName(text: string): string {
  return text.replaceAll(/[^\u0020-\u007E]/g, "?").slice(0, MAX_NAME);
}
